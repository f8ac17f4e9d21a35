r"""UGRNN: one gate decides how much of the old state is kept and how much of a candidate enters.

Collins, Sohl-Dickstein and Sussillo, "Capacity and Trainability in Recurrent Neural Networks",
2016, arXiv:1611.09913.

    c_t = tanh(W_c x_t + U_c h_{t-1} + b_c)                candidate
    g_t = sigmoid(W_g x_t + U_g h_{t-1} + b_g)             gate
    h_t = g_t * h_{t-1} + (1 - g_t) * c_t
    y_t = h_t

Each W starts Xavier, each U orthogonal, b_c at zero, and b_g at one, so that much is kept.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  b_g starts as in TensorFlow's cell of this name; how the paper starts the weights is not
         known to us.
See also gru.py, mgu.py, janet.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.gated_cell import GatedCell


class UGRNNState(NamedTuple):
    """What a UGRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class UGRNN(GatedCell[UGRNNState]):
    """Update gate recurrent neural network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        forget_bias: where the biases of the gate start.
    """

    remembers, gates = UGRNNState, 2

    def __init__(self, dim: int, hidden: int | None = None, *, forget_bias: float = 1.0):
        super().__init__(dim, hidden)
        self.hold(1, forget_bias, None)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: UGRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], UGRNNState]:
        """Map one input."""
        candidate, gate = (self.input(x) + self.recurrent(state.h)).chunk(2, -1)
        h = candidate.tanh().lerp(state.h, gate.sigmoid())
        return h, UGRNNState(h)

    @classmethod
    def example(cls) -> "UGRNN":
        """Return a small instance."""
        return cls(dim=4)
