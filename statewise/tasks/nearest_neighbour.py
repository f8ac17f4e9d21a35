"""Nearest neighbour search: a point, others with values, and the value of the one nearest to it.

inputs    2 2 0   0 0 5   3 2 7   9 9 1   2 1 4   2 2 8       first the point, then x, y and value
targets     .       5       7       7       7       8         of two as near, the first stays

The best so far has to be thrown away as soon as a nearer one comes, and only then: a decision to
store is revised. Beck et al., "xLSTM", 2024, arXiv:2405.04517, figure 2.

Differs: the answer after every point counts, not only the one after the last.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.tasks.regression import Regressions


@dataclass(frozen=True)
class NearestNeighbour:
    """Points drawn from a normal distribution, and values evenly from 0 to 1.

    Args:
        dim: coordinates of a point, at least one.
    """

    dim: int = 2

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim is {self.dim}; a point has at least 1 coordinate")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Regressions:
        """Return `batch` examples of `length` inputs, the first of them the point itself."""
        inputs = torch.randn(batch, length, self.dim + 1, generator=generator)
        inputs[..., -1] = torch.rand(batch, length, generator=generator)
        inputs[:, :1, -1] = 0
        points = inputs[..., :-1].double()
        apart = (points[:, 1:] - points[:, :1]).square().sum(-1)
        nearest = apart.cummin(1).indices
        targets = torch.zeros(batch, length)
        targets[:, 1:] = inputs[:, 1:, -1].gather(1, nearest)
        return Regressions(inputs, targets, (torch.arange(length) > 0).expand(batch, length))

    def solve(self, inputs: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time"]:
        """Return the exact answers: keep the best so far."""
        answers = torch.zeros(inputs.shape[:2], dtype=inputs.dtype)
        for row, ((*point, _), *others) in enumerate(inputs.tolist()):
            best = answer = float("inf")
            for time, (*other, value) in enumerate(others, start=1):
                apart = math.dist(point, other)
                if apart < best:
                    best, answer = apart, value
                answers[row, time] = answer
        return answers


def loss(answers: Float[Tensor, "batch time"], examples: Regressions) -> Float[Tensor, ""]:
    """Return the mean squared error of the answers that count: 1/12 for always one half."""
    return (answers - examples.targets).square()[examples.mask].mean()
