"""Logos of filters: what each convolution over words, or letters, answers to.

    filter 7     A L L L K      its window where it answers most, of many sequences
                 A L V L R
                 G L L L K
    logo         A L L L K      the share of each word at each place of the window: here L is 1 at 2

Of each sequence the window counts in which a filter answers most, and of all these windows those
with the largest answers; as Sonderby et al., "Convolutional LSTM Networks for Subcellular
Localization of Proteins", 2015, arXiv:1503.01919, section 3, look at theirs.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.models.labelling import Labelling
from statewise.models.spelling import surface


class Logo(NamedTuple):
    """What one filter answers to."""

    words: tuple[str, ...]
    """All that stand in the sequences, sorted."""
    shares: Float[Tensor, "width words"]
    """Of the windows that have a word at a place; less than 1 in all where some end before it."""
    windows: int
    """How many these are."""

    @property
    def consensus(self) -> tuple[str, ...]:
        """The most frequent word at each place; empty where most windows have none."""
        best = self.shares.max(1)
        none = 1 - self.shares.sum(1)
        return tuple(
            self.words[at] if share > empty else ""
            for at, share, empty in zip(
                best.indices.tolist(), best.values.tolist(), none.tolist(), strict=True
            )
        )


def filter_logos(
    model: Labelling[Any], sentences: Sequence[Sequence[Any]], *, most: int = 50
) -> list[Logo]:
    """Return the logo of each filter of a tagger or a classifier.

    Args:
        model: with filters before its layers.
        sentences: to look at, as the model reads them.
        most: windows of each filter.

    Raises:
        ValueError: if the model has no filters, or for what is no list of words.
    """
    filters = model.encoder.filters
    if filters is None:
        raise ValueError("filter_logos: this model has no filters before its layers")

    def strongest(batch: Any) -> Iterable[tuple[Tensor, Tensor]]:
        """Return of each sentence how much each filter answers at most, and where."""
        y = filters(model.encoder.words(batch), batch.lengths).float()
        if not y.shape[1]:
            y = y.new_zeros(len(y), 1, filters.out)
        return zip(*y.max(1), strict=True)

    found = model.over(sentences, strongest)
    read = [model.read(sentence) for sentence in sentences]
    words = tuple(sorted({surface(word) for sentence in read for word in sentence}))
    answers, places = (
        torch.stack([pair[part] for pair in found]) if found else torch.zeros(0, filters.out)
        for part in (0, 1)
    )
    return [
        _logo(read, words, window, answers[:, at], places[:, at], most)
        for at, window in enumerate(filters.windows())
    ]


def _logo(
    read: Sequence[Sequence[Any]],
    words: tuple[str, ...],
    window: tuple[int, int],
    answers: Float[Tensor, " sentences"],
    places: Tensor,
    most: int,
) -> Logo:
    """Return the logo of one filter, from where in each sentence it answers most, and how much."""
    numbers = {word: at for at, word in enumerate(words)}
    shares = torch.zeros(window[1] - window[0], len(words))
    order = answers.argsort(descending=True, stable=True)[:most].tolist()
    # What answers nothing anywhere matches nothing.
    chosen = [at for at in order if answers[at] > 0]
    for at in chosen:
        sentence, middle = read[at], int(places[at])
        for place in range(len(shares)):
            if 0 <= (there := middle + window[0] + place) < len(sentence):
                shares[place, numbers[surface(sentence[there])]] += 1
    return Logo(words, shares / max(len(chosen), 1), len(chosen))
