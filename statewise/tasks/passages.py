"""Passages of a text: bytes in, the next byte out, each passage from an empty memory.

tokens   o r   n o t
targets  r   n o t         from "to be or not to be"; every one counts

For training on whole documents, with states carried, there is `language`.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.documents import manual, split
from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Passages:
    """Passages that begin anywhere in a text."""

    text: Int[Tensor, " time"] = field(repr=False)
    """Its bytes, or other symbols."""
    vocab: int = 256

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` passages of `length` symbols.

        Raises:
            ValueError: if the text is no longer than that.
        """
        if len(self.text) <= length:
            raise ValueError(f"a passage of {length} and one more: the text has {len(self.text)}")
        starts = torch.randint(len(self.text) - length, (batch, 1), generator=generator)
        read = self.text[starts + torch.arange(length + 1)]
        return Examples(read[:, :-1], read[:, 1:], torch.ones(batch, length, dtype=torch.bool))


WORD = re.compile(r"\w+|[^\w\s]|\n")
"""A word, a mark or the end of a line."""


def words_of_manual(vocab: int) -> tuple[Passages, Passages]:
    """Return passages of the manual's words: to learn from, and of the last tenth.

    Args:
        vocab: symbols: those of `symbols_of_manual`, and 0 for all other words.
    """
    number = symbols_of_manual(vocab)
    first, last = (torch.tensor([number.get(w, 0) for w in words]) for words in _words())
    return Passages(first, vocab), Passages(last, vocab)


def symbols_of_manual(vocab: int) -> dict[str, int]:
    """Return the words that come most often before the manual's last tenth, numbered from 1 on.

    Args:
        vocab: symbols: one more than words.
    """
    seen, _ = _words()
    return {word: n for n, (word, _) in enumerate(Counter(seen).most_common(vocab - 1), 1)}


def _words() -> tuple[list[str], list[str]]:
    seen, held_out = (WORD.findall(part) for [part] in split([manual()], 0.1))
    return seen, held_out


def of_manual() -> tuple[Int[Tensor, " seen"], Int[Tensor, " held_out"]]:
    """Return the bytes of the manual that Python carries: to learn from, and the last tenth."""
    seen, held_out = (of(part) for [part] in split([manual()], 0.1))
    return seen, held_out


def of(text: str) -> Int[Tensor, " time"]:
    """Return the bytes of a text."""
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).long()
