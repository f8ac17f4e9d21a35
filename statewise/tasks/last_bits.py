"""Bits of which something is asked that the last N of them answer: what such tasks share."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class LastBits(abc.ABC):
    """Bits, each as likely as the other, and an answer to the last few, once there are so many.

    Args:
        n: how many bits answer.
    """

    n: int = 3
    vocab: int = 2
    answers: int = 2

    least: ClassVar[int] = 1
    """Of n."""

    def __post_init__(self) -> None:
        if self.n < self.least:
            raise ValueError(f"n is {self.n}; it should be at least {self.least}")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` bits.

        Raises:
            ValueError: for a length below n, where nothing is asked.
        """
        if length < self.n:
            raise ValueError(f"length is {length}; what {self.n} bits answer needs as many")
        tokens = torch.randint(2, (batch, length), generator=generator)
        mask = (torch.arange(length) >= self.n - 1).expand(batch, length)
        return Examples(tokens, self.targets(tokens), mask)

    @abc.abstractmethod
    def targets(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
        """Return the answers, zeros before there is one: one stream can be asked for many n."""

    @abc.abstractmethod
    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers to one stream."""
