"""In-context linear regression: points and their values, of weights that differ by example.

inputs   1 0 0   0 0 3   1 1 0   0 0 5   0 2 0   0 0 4      point, value, point, value, ...
targets    3       .       5       .       4       .        a point asks for its value

The weights here are 3 and 2: the first point tells one of them, the second the other, and from
then on every value is known. Garg et al., "What can transformers learn in-context?", 2022,
arXiv:2208.01066, section 3: points and weights are normal, and errors are divided by the
dimensions, so that answering 0 scores 1.

Differs: a value has a coordinate of its own, the last one, rather than the first of the point's.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Regressions(NamedTuple):
    """A batch of examples."""

    inputs: Float[Tensor, "batch time dim"]
    """The coordinates of a point and, last, a value."""
    targets: Float[Tensor, "batch time"]
    """The value wanted at each; 0 where none counts."""
    mask: Bool[Tensor, "batch time"]
    """Where answers count."""


@dataclass(frozen=True)
class LinearRegression:
    """Points, weights and noise drawn from normal distributions.

    Args:
        dim: coordinates of a point, at least one.
        noise: the standard deviation of what is added to the values, 0 or more.
    """

    dim: int = 20
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"dim is {self.dim}; a point has at least 1 coordinate")
        if self.noise < 0:
            raise ValueError(f"noise is {self.noise}; a standard deviation is 0 or more")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Regressions:
        """Return `batch` examples of `length` inputs, points and values, the first one a point."""
        count = (length + 1) // 2
        points = torch.randn(batch, count, self.dim, generator=generator)
        weights = torch.randn(batch, self.dim, 1, generator=generator)
        values = (points @ weights)[..., 0]
        values += self.noise * torch.randn(batch, count, generator=generator)
        inputs = torch.zeros(batch, length, self.dim + 1)
        inputs[:, ::2, :-1] = points
        inputs[:, 1::2, -1] = values[:, : length // 2]
        targets = torch.zeros(batch, length)
        targets[:, ::2] = values
        return Regressions(inputs, targets, (torch.arange(length) % 2 == 0).expand(batch, length))

    def solve(self, inputs: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time"]:
        """Return the best answers there are: the posterior mean, given the points so far.

        That is ridge regression with a penalty of noise^2; without noise, the smallest weights that
        fit, which are the weights themselves from the point on that makes them determined.
        """
        points, values = inputs[:, ::2, :-1].double(), inputs[:, 1::2, -1].double()
        answers = torch.zeros(inputs.shape[:2], dtype=inputs.dtype)
        for count in range(1, points.shape[1]):
            seen = points[:, :count]
            if self.noise:
                gram = seen.mT @ seen + self.noise**2 * torch.eye(self.dim, dtype=seen.dtype)
                weights = torch.linalg.solve(gram, seen.mT @ values[:, :count, None])
            else:
                weights = torch.linalg.pinv(seen) @ values[:, :count, None]
            answers[:, 2 * count] = (points[:, count] * weights[..., 0]).sum(-1)
        return answers


def errors(answers: Float[Tensor, "batch time"], examples: Regressions) -> Float[Tensor, " point"]:
    """Return the mean squared error at each point, after 0, 1, 2, ... others, over dimensions."""
    squares = (answers - examples.targets).square()[:, ::2]
    return squares.mean(0) / (examples.inputs.shape[-1] - 1)


def loss(answers: Float[Tensor, "batch time"], examples: Regressions) -> Float[Tensor, ""]:
    """Return the mean of `errors`: about 1 for answers of 0, which is chance."""
    return errors(answers, examples).mean()
