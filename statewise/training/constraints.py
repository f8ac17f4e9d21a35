"""Norms of matrices that are held below a limit by multipliers, rather than by clipping.

    lowered:  loss + sum_r multiplier_r (sum_c |W_rc| - limit)          over the weights
    raised:   multiplier_r <- max(0, multiplier_r + rate (sum_c |W_rc| - limit))

The largest sum over a row is the infinity norm of W: below 1 over the largest slope of a cell's
activation (1 for tanh, 4 for a sigmoid, as limits) its states forget how they began. Chen and Deng,
"A Primal-Dual Method for Training Recurrent Neural Networks Constrained by the Echo-State
Property", 2014, arXiv:1311.6091, section 3.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


class NormConstraint:
    """Multipliers for each row of some matrices.

    Args:
        weights: the matrices, each (rows, columns).
        limit: of the infinity norm of each.
        rate: by which multipliers rise and fall with each step.

    Raises:
        ValueError: for what is no matrix.
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, limit: float, rate: float):
        self.limit, self.rate = limit, rate
        self.multipliers: dict[Tensor, Tensor] = {}
        for weight in weights:
            if weight.ndim != 2:
                raise ValueError(f"a norm is held of matrices, and {tuple(weight.shape)} is none")
            self.multipliers[weight] = weight.new_zeros(len(weight)).detach()

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the gradients of what excess costs: call it between `backward` and the step."""
        for weight, multipliers in self.multipliers.items():
            pull = multipliers[:, None] * weight.sign()
            weight.grad = pull if weight.grad is None else weight.grad.add_(pull)

    @torch.no_grad()
    def ascend(self) -> None:
        """Let multipliers follow what exceeds the limit: call it after the step."""
        for weight, multipliers in self.multipliers.items():
            multipliers.add_(self.rate * (rows(weight) - self.limit)).clamp_(min=0)

    @torch.no_grad()
    def excess(self) -> float:
        """Return by how much the largest norm is above the limit; below it, a negative number."""
        return max(float(rows(weight).max()) for weight in self.multipliers) - self.limit


def rows(weight: Float[Tensor, "rows columns"]) -> Float[Tensor, " rows"]:
    """Return the sum of the magnitudes of each row."""
    return weight.detach().abs().sum(1)
