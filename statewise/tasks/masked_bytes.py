"""Masked bytes: passages of a text in which some bytes are hidden, and asked for.

tokens   o .   n . t       "or not" with two of its bytes hidden, in whose places is 256
targets  . r . . o .       a hidden byte asks for itself

What is on both sides of a byte tells of it: for mixers that read the whole sequence.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.examples import Examples
from statewise.tasks.passages import Passages

HIDDEN = 256


@dataclass(frozen=True)
class MaskedBytes:
    """Passages that begin anywhere in a text, and whose bytes are hidden each by itself."""

    text: Int[Tensor, " time"] = field(repr=False)
    """Its bytes."""
    share: float = 0.15
    """Of the bytes that are hidden, between 0 and 1."""
    vocab: int = HIDDEN + 1

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share}; it should be between 0 and 1")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` passages of `length` bytes.

        Raises:
            ValueError: if the text is no longer than that.
        """
        read = Passages(self.text).draw(batch, length, generator).tokens
        mask = torch.rand(read.shape, generator=generator) < self.share
        return Examples(read.masked_fill(mask, HIDDEN), read, mask)
