"""Adding problem: two numbers are marked, and their sum is asked at the end.

values   0.3 0.9 0.1 0.5 0.7 0.2
marks    0   1   0   0   1   0
target                       1.6      which is 0.9 + 0.7; one mark lies in each half

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997, section 5.4, as
it is drawn since Le, Jaitly and Hinton, 2015, arXiv:1504.00941, section 4.1. To answer 1 always
costs 1/6 in squares, the variance of the sum of two uniform numbers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Sums(NamedTuple):
    """A batch of examples."""

    x: Float[Tensor, "batch time 2"]
    """Values from 0 to 1, and marks."""
    target: Float[Tensor, " batch"]
    """What the two marked values add up to."""


@dataclass(frozen=True)
class AddingProblem:
    """Sums of two marked numbers."""

    features: int = 2
    baseline: float = 1 / 6
    """The mean square of the error of always answering 1."""

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Sums:
        """Return `batch` examples of `length` numbers, of which there have to be two."""
        if length < 2:
            raise ValueError(f"adding problem: length = {length} should be at least 2")
        values = torch.rand(batch, length, generator=generator)
        half = length // 2
        first = torch.randint(half, (batch,), generator=generator)
        second = torch.randint(half, length, (batch,), generator=generator)
        rows = torch.arange(batch)
        marks = torch.zeros(batch, length)
        marks[rows, first] = marks[rows, second] = 1
        return Sums(torch.stack([values, marks], -1), values[rows, first] + values[rows, second])

    def solve(self, x: list[tuple[float, float]]) -> float:
        """Return the exact answer to one example."""
        return sum(value for value, mark in x if mark)
