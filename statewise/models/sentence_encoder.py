"""Sentences in, features of every word in its sentence out: what taggers and classifiers share.

    words -> features -> dropout -> layer -> dropout -> ... -> layer -> dropout [-> global context]

A layer is any mixer, in both directions or from the left alone; layers are wired plainly,
residually or densely, as in `statewise.mixers.stacked_bidirectional`.
"""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import blank
from statewise.mixers.parts.wiring import Wiring, above, answered, layers
from statewise.models.configuration import Configuration
from statewise.models.dropout import Drop, Rate
from statewise.models.global_context import GlobalContext
from statewise.models.readers import Reader
from statewise.models.spelling import Sentences, Vocabulary
from statewise.models.word_encoder import Count, WordConfig, WordEncoder


class EncoderConfig(Configuration):
    """How sentences are read.

    Args:
        words: how each word is.
        mixer: what reads the sentence: a name, or {name: ..., option: value}.
        hidden: features of each direction.
        depth: layers.
        wiring: what a layer reads: "plain", "residual" or "dense".
        both_ways: whether words after one count as well as those before it.
        dropout: the share of features that each sentence lacks while training, before, between and
            after the layers.
        context: whether a gate adds to each word what the whole sentence says, see
            `statewise.models.global_context`.
    """

    # Not strict, which would take nothing but instances where others hold it.
    model_config = ConfigDict(strict=False)
    called = "an encoder"

    words: WordConfig = Field(default_factory=WordConfig)
    mixer: str | dict[str, Any] = "lstm"
    hidden: Count = 200
    depth: Count = 1
    wiring: Wiring = "plain"
    both_ways: bool = True
    dropout: Rate = 0.4
    context: bool = False


class SentenceEncoder(nn.Module):
    """Features of the words of sentences, each as the whole sentence says.

    Args:
        config: which.
        vocabulary: of the words and characters that are known.

    Raises:
        ValueError: for a mixer or an option that does not exist, or sizes that do not fit.
    """

    def __init__(self, config: EncoderConfig, vocabulary: Vocabulary):
        super().__init__()
        self.config = config
        self.words = WordEncoder(config.words, vocabulary)

        def layer(dim: int) -> Reader:
            return Reader(config.mixer, dim, config.hidden, both_ways=config.both_ways)

        self.layers = layers(
            "the encoder", layer, self.words.out, depth=config.depth, wiring=config.wiring
        )
        self.dropouts = nn.ModuleList(
            Drop(config.dropout, locked=True) for _ in range(config.depth + 1)
        )
        self.out = answered(self.layers)
        self.context = (
            GlobalContext(self.out, both_ways=config.both_ways) if config.context else None
        )

    def forward(
        self, sentences: Sentences, *, look_ahead: int = 0
    ) -> Float[Tensor, "batch time out"]:
        """Return the features of each word; zero in the padding.

        Args:
            sentences: to read.
            look_ahead: words, or blanks after the last one, that are read before the features of a
                word are taken.
        """
        lengths = sentences.lengths
        words = self.words(sentences)
        if look_ahead:
            words = functional.pad(blank(words, lengths), (0, 0, 0, look_ahead))
        enter, *after = self.dropouts
        x = y = enter(words)
        for place, (layer, dropout) in enumerate(zip(self.layers, after, strict=True)):
            x = above(self.config.wiring, x, y) if place else x
            y = dropout(layer(x, lengths=lengths + look_ahead))
        y = blank(y[:, look_ahead:], lengths) if look_ahead else y
        return y if self.context is None else self.context(y, lengths)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state of every layer before anything is read.

        Raises:
            ValueError: if a layer reads from the right too, or a gate needs the whole sentence.
        """
        if self.context is not None:
            raise ValueError(
                "a gate of the whole sentence cannot be asked while it arrives: train with "
                "--model.context false"
            )
        return tuple(layer.initial_state(batch) for layer in self._readers())

    def resume(
        self, words: Float[Tensor, "batch time words"], states: tuple[Any, ...]
    ) -> tuple[Float[Tensor, "batch time out"], tuple[Any, ...]]:
        """Return the features of more words of sentences that were read so far, and the states.

        Args:
            words: their features, as `self.words` gives them; zero for a blank.
            states: of the layers.
        """
        x = y = words
        after: list[Any] = []
        for place, (layer, state) in enumerate(zip(self._readers(), states, strict=True)):
            x = above(self.config.wiring, x, y) if place else x
            y, state = layer.resume(x, state)
            after.append(state)
        return y, tuple(after)

    def _readers(self) -> Iterator[Reader]:
        for layer in self.layers:
            assert isinstance(layer, Reader)
            yield layer
