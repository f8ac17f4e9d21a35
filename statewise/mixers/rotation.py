r"""Rotation: the input turns each pair of the state by an angle, and nothing is added.

Ebrahimi and Memisevic, "Revisiting Bi-Linear State Transitions in Recurrent Neural Networks", 2025,
arXiv:2505.21749: the rotations of its hierarchy.

    theta_t = W x_t                                          of each pair
    h_t = [[cos theta_t, -sin theta_t], [sin theta_t, cos theta_t]] h_{t-1}
    y_t = h_t

It counts modulo any number, since rotations add up, and follows no order, since they commute.

Family   linear diagonal
Forms    scan of matrices; step
State    h, (batch, hidden / 2, 2), hidden numbers
Cost     O(time dim hidden) work in `forward`; O(dim hidden) in `step`
Differs  h_0 is learned and starts at (1, 0); the start of W is torch's. The paper's are not known
         to us.
See also bilinear.py, block_diagonal.py, gateloop.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.started import Started
from statewise.ops.linear import linear


class RotationState(NamedTuple):
    """What rotations remember."""

    h: Float[Tensor, "batch pairs two"]


class Rotation(Started[RotationState]):
    """Rotations that the input chooses.

    Args:
        dim: features read.
        hidden: features remembered and answered, an even number; `dim` if absent.
    """

    remembers = RotationState

    def __init__(self, dim: int, *, hidden: int | None = None):
        super().__init__("rotation", dim, hidden, 2)
        self.start = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(self.out // 2, 1))
        self.angle = Linear(dim, self.out // 2, bias=False)

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RotationState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RotationState]:
        """Map inputs."""
        # Wide from the start: angles add up over time, and so would what they were rounded by.
        wide = state_dtype(x.dtype)
        theta = linear(x.to(wide), self.angle.weight.to(wide))
        cos, sin = theta.cos(), theta.sin()
        turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
        h, last = self.scanned(turn, None, state, run)
        return h.flatten(-2).to(x.dtype), RotationState(last)

    @classmethod
    def example(cls) -> "Rotation":
        """Return a small instance."""
        return cls(dim=4, hidden=6)
