"""What is peculiar to the training of heads that write a word for each word."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from statewise.models.speller import NOTHING, SpellingModel, WritingConfig
from statewise.models.spelling import normalize, surface
from statewise.tasks.scores import ClassReport, Score
from statewise.training.labels import Gold, OneHead, Report

SAME, CHANGED = "as the word is", "changed"
"""What is written is the word itself, or it is not."""


class SpellWork(OneHead[SpellingModel]):
    """What is peculiar to the training of a speller.

    Args:
        writing: how words are written.
    """

    what, target = "speller", "word"
    model = SpellingModel

    def __init__(self, writing: WritingConfig):
        super().__init__()
        self.writing = writing

    @classmethod
    def of(cls, model: SpellingModel) -> "SpellWork":
        """Return that of a model that is trained."""
        work = cls(model.config.writing)
        work._labels = list(model.labels)
        return work

    @property
    def score(self) -> str:
        """The share of the words that are written rightly."""
        return "accuracy"

    def learn(self, gold: Gold) -> Gold:
        """Note the letters."""
        self._labels = sorted({c for _, wanted in _pairs(gold) for c in normalize(wanted)})
        if not self._labels:
            raise ValueError(f"{gold.name}: nothing that should be written in it is known")
        return gold

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return nothing: a word with letters of its own can be written by copying them.

        Raises:
            ValueError: if nothing that should be written is known.
        """
        if next(_pairs(gold), None) is None:
            raise ValueError(f"{gold.name}: there is nothing in it to score with")
        return ()

    def fields(self) -> dict[str, Any]:
        """Return what a speller is built from beside its encoder."""
        return {"labels": self._labels, "writing": self.writing.model_dump()}

    def targets(self, labels: list[Any]) -> list[list[Tensor]]:
        """Return what is to be written for each word of each sentence, as numbers."""
        numbers = {letter: number for number, letter in enumerate(self._labels)}
        end = [len(numbers)]

        def spelled(word: str | None) -> Tensor:
            known = [] if word is None else [numbers[c] for c in normalize(word)] + end
            return torch.tensor(known, dtype=torch.int64)

        return [[spelled(word) for word in words] for words in labels]

    def batch(self, targets: list[list[Tensor]]) -> tuple[Tensor, int]:
        """Return the numbers of all words, and of how many words they are, or 1 if of none."""
        words = list(chain.from_iterable(targets))
        known = sum(len(word) > 0 for word in words)
        return pad_sequence(words, batch_first=True, padding_value=NOTHING), max(known, 1)

    def report(self, gold: Gold, found: list[Any]) -> Report:
        """Return how well words were written: those that stay as they are, and the others."""
        counts = {name: [0, 0, 0] for name in (SAME, CHANGED)}
        words = (chain.from_iterable(part) for part in (gold.sentences, gold.labels, found))
        for word, wanted, written in zip(*words, strict=True):
            if wanted is None:
                continue
            here, there = (_kind(word, it) for it in (written, wanted))
            counts[there][0] += written == normalize(wanted)
            counts[here][1] += 1
            counts[there][2] += 1
        return ClassReport({name: Score(*three) for name, three in counts.items()}, {})

    def value(self, report: Report) -> float:
        """Return the share of the words that were written rightly."""
        return report.accuracy


def _kind(word: Any, written: str) -> str:
    return SAME if normalize(surface(word)) == normalize(written) else CHANGED


def _pairs(gold: Gold) -> Iterator[tuple[Any, str]]:
    """Yield words, and what is to be written for each, where it is known."""
    for words, wanted in zip(gold.sentences, gold.labels, strict=True):
        yield from ((a, b) for a, b in zip(words, wanted, strict=True) if b is not None)
