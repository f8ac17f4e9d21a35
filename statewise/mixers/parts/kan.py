"""Kolmogorov-Arnold layers, where each weight is a function of one number: no mixer itself."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, silu


class KAN(nn.Module):
    """A layer  y_j = sum_i [w_ji silu(x_i) + sum_m c_jim B_m(x_i)]  with B-splines B_m.

    Liu et al., "KAN: Kolmogorov-Arnold Networks", 2024, arXiv:2404.19756, section 2.2. The knots
    are at equal distances over [low, high] and beyond, and there is no spline far from there. It is
    written of operations on rows, so that a cell that holds it becomes a program.

    Args:
        inputs: numbers read.
        outputs: numbers answered.
        grid: intervals of [low, high].
        order: degree of the splines.
        low: where the grid begins.
        high: where it ends.
    """

    shifts: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        grid: int = 5,
        order: int = 3,
        low: float = -1.0,
        high: float = 1.0,
    ):
        super().__init__()
        if grid < 1 or order < 0 or low >= high:
            raise ValueError(f"kan: {grid} intervals of [{low}, {high}] at degree {order} are none")
        self.splines, self.order = grid + order, order
        self.low, self.scale = low, grid / (high - low)
        # Whole numbers, which every precision has.
        begins = torch.arange(-order, grid, dtype=torch.get_default_dtype())
        self.register_buffer("shifts", begins.repeat_interleave(inputs), persistent=False)
        self.base = nn.Linear(inputs, outputs, bias=False)
        nn.init.xavier_uniform_(self.base.weight)
        # Small, for the splines to add little at first (section 2.2 of the paper).
        self.coefficients = nn.Parameter(0.1 * torch.randn(outputs, self.splines * inputs))

    def forward(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Return the sums of the functions."""
        return self.base(silu(x)) + linear(self.values(x), self.coefficients)

    def values(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch splines_inputs"]:
        """Return every B_m of every input, those of one spline side by side."""
        u = torch.cat([(x - self.low) * self.scale] * self.splines, -1)
        return spline(u - self.shifts, self.order)


def spline(u: Float[Tensor, "*axes"], order: int) -> Float[Tensor, "*axes"]:
    """Return the B-spline with knots 0, 1, ..., order + 1 at each u, by de Boor's recursion."""
    bases = [((u >= m) & (u < m + 1)).to(u.dtype) for m in range(order + 1)]
    for k in range(1, order + 1):
        bases = [
            ((u - m) * left + (m + k + 1 - u) * right) / k
            for m, (left, right) in enumerate(pairwise(bases))
        ]
    return bases[0]
