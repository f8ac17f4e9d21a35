r"""expRNN: the recurrent matrix is the exponential of a skew-symmetric one, so orthogonal.

Lezcano-Casado and Martinez-Rubio, "Cheap Orthogonal Constraints in Neural Networks: A Simple
Parametrization of the Orthogonal and Unitary Group", 2019, arXiv:1901.08428; the moving base is
"Trivializations for Gradient-Based Optimization on Manifolds", 2019, arXiv:1909.09501.

    A = S - S^T                                      S strictly upper triangular
    B = base exp(A)                                  base orthogonal, the identity at first
    h_t = modrelu(V x_t + B h_{t-1})                 modrelu(v) = sign(v) relu(|v| + b)
    y_t = h_t

At the start A turns pairs of units: by tan(u / 2) with u uniform in (0, pi / 2), their "cayley", or
by an angle uniform in (-pi, pi), their "henaff"; b is uniform in (-0.01, 0.01), V Kaiming normal.
`rebase` moves the base to B and A to zero, which leaves the function as it is and keeps A small:
dtriv calls it every hundred steps or so of training.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden) + hidden^3) work, time steps one after another; `step`
         computes the exponential anew, O(hidden^3)
Differs  Our B acts from the left, the published code's from the right: B transposed. The paper's
         learning rate for A is a tenth of the others', which is left to the optimizer; an optimizer
         with momentum keeps that of before a `rebase`.
See also scornn.py, urn.py, rotation.py
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.orthogonal import OrthogonalCell, cayley_entries


class ExpRNNState(NamedTuple):
    """What an expRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class ExpRNN(OrthogonalCell[ExpRNNState]):
    """Recurrent network whose matrix is orthogonal by the exponential map.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        start: which angles the matrix starts with, "cayley" or "henaff".
    """

    remembers = ExpRNNState

    def __init__(
        self, dim: int, hidden: int | None = None, *, start: Literal["cayley", "henaff"] = "cayley"
    ):
        super().__init__("exp_rnn", dim, hidden)
        if start not in ("cayley", "henaff"):
            raise ValueError(f"exp_rnn: start {start!r} should be 'cayley' or 'henaff'")
        nn.init.kaiming_normal_(self.input.weight, nonlinearity="relu")
        nn.init.uniform_(self.bias, -0.01, 0.01)
        pairs = torch.empty(self.hidden // 2)
        if start == "cayley":
            self.turn(cayley_entries(pairs.uniform_(0, math.pi / 2)))
        else:
            self.turn(pairs.uniform_(-math.pi, math.pi))
        self.register_buffer("base", torch.eye(self.hidden))

    def transition(self) -> Float[Tensor, "hidden hidden"]:
        """Return B."""
        # In float32 what is learned of A, small beside the gradient by B, keeps but four digits.
        return self.get_buffer("base") @ torch.linalg.matrix_exp(self.skew_symmetric().double()).to(
            self.skew.dtype
        )

    @torch.no_grad()
    def rebase(self) -> None:
        """Move the base to B, made orthogonal to the last digit, and A to zero."""
        U, _, Vh = torch.linalg.svd(self.transition().double())
        self.get_buffer("base").copy_(U @ Vh)
        self.skew.zero_()

    @classmethod
    def example(cls) -> "ExpRNN":
        """Return a small instance."""
        return cls(dim=4, hidden=5)
