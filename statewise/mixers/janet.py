r"""JANET: just another network: an LSTM of which the forget gate alone is left.

Van der Westhuizen and Lasenby, "The unreasonable effectiveness of the forget gate", 2018,
arXiv:1804.04849.

    a_t = W_f x_t + U_f h_{t-1} + b_f
    g_t = tanh(W_c x_t + U_c h_{t-1} + b_c)                candidate
    h_t = sigmoid(a_t) * h_{t-1} + (1 - sigmoid(a_t - beta)) * g_t
    y_t = h_t

beta = 1: a little more enters than is forgotten. Each W starts Xavier, each U orthogonal, b_c at
zero, and b_f at one, or as log U(1, longest - 1) where `longest` is given.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The chrono start is that of Tallec and Ollivier, 2018; the authors' program draws
         log U(1, longest). Its weights start Glorot, recurrent ones too.
See also lstm.py, ugrnn.py, star.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.gated_cell import GatedCell


class JANETState(NamedTuple):
    """What a JANET remembers."""

    h: Float[Tensor, "batch hidden"]


class JANET(GatedCell[JANETState]):
    """Just another network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        beta: how far the gate of what enters lags behind the forget gate.
        forget_bias: where the biases of the forget gate start.
        longest: how many inputs long the longest memories are to be at the start, in place of
            `forget_bias`.
    """

    remembers, gates = JANETState, 2

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        beta: float = 1.0,
        forget_bias: float = 1.0,
        longest: int | None = None,
    ):
        super().__init__(dim, hidden)
        self.beta = beta
        self.hold(0, forget_bias, longest)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: JANETState
    ) -> tuple[Float[Tensor, "batch hidden"], JANETState]:
        """Map one input."""
        a, candidate = (self.input(x) + self.recurrent(state.h)).chunk(2, -1)
        entering = 1 - (a - self.beta).sigmoid()
        h = a.sigmoid() * state.h + entering * candidate.tanh()
        return h, JANETState(h)

    @classmethod
    def example(cls) -> "JANET":
        """Return a small instance."""
        return cls(dim=4)
