r"""scoRNN: the recurrent matrix is a scaled Cayley transform of a skew-symmetric one.

Helfrich, Willmott and Ye, "Orthogonal Recurrent Neural Networks with Scaled Cayley Transform",
2018, arXiv:1707.09520.

    A = S - S^T                                      S strictly upper triangular
    W = (I + A)^-1 (I - A) D                         D = diag(-1 ... -1, 1 ... 1), never learned
    h_t = modrelu(V x_t + W h_{t-1})                 modrelu(v) = sign(v) relu(|v| + b)
    y_t = h_t

Without D no W has the eigenvalue -1; with it every orthogonal matrix can be reached. At the start
(I + A)^-1 (I - A) turns pairs of units by angles uniform in (0, pi / 2), V is uniform in (-0.01,
0.01), and b is zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden) + hidden^3) work, time steps one after another; `step`
         solves for W anew, O(hidden^3)
Differs  How many entries of D are -1 is tuned in the paper; here it is half of them if not said.
See also exp_rnn.py
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.orthogonal import OrthogonalCell, cayley_entries


class SCORNNState(NamedTuple):
    """What a scoRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class SCORNN(OrthogonalCell[SCORNNState]):
    """Recurrent network whose matrix is orthogonal by the scaled Cayley transform.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        negative: how many entries of D are -1; half of them if absent.
        input_scale: the largest weight of an input at the start.
    """

    remembers = SCORNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        negative: int | None = None,
        input_scale: float = 0.01,
    ):
        super().__init__("scornn", dim, hidden)
        negative = self.hidden // 2 if negative is None else negative
        if not 0 <= negative <= self.hidden:
            raise ValueError(
                f"scornn: negative = {negative} should be from 0 to hidden = {self.hidden}"
            )
        nn.init.uniform_(self.input.weight, -input_scale, input_scale)
        self.turn(cayley_entries(torch.empty(self.hidden // 2).uniform_(0, math.pi / 2)))
        signs = torch.where(torch.arange(self.hidden) < negative, -1.0, 1.0)
        self.register_buffer("signs", signs)

    def transition(self) -> Float[Tensor, "hidden hidden"]:
        """Return W."""
        A = self.skew_symmetric()
        one = torch.eye(self.hidden, dtype=A.dtype, device=A.device)
        # I + A is never singular; `solve` would look at its numbers to say so.
        return torch.linalg.solve_ex(one + A, one - A)[0] * self.get_buffer("signs")

    @classmethod
    def example(cls) -> "SCORNN":
        """Return a small instance."""
        return cls(dim=4, hidden=5, input_scale=1.0)
