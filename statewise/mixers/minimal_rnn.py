r"""MinimalRNN: inputs are mapped to where states live, and a gate mixes the two, nothing else.

Chen, "MinimalRNN: Toward More Interpretable and Trainable Recurrent Neural Networks", 2017,
arXiv:1711.06788.

    v_t = tanh(W x_t + b)                                  candidate
    u_t = sigmoid(U_h h_{t-1} + U_v v_t + b_u)             gate
    h_t = u_t * h_{t-1} + (1 - u_t) * v_t
    y_t = h_t

The gate reads v_t, not x_t. W and U_v start Xavier, U_h orthogonal, and the biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another, of which the half is one
         product; O(hidden (dim + hidden)) in `step`
Differs  The paper's map of the input may be any network; here it is one layer. How the paper starts
         the weights is not known to us.
See also ugrnn.py, min_gru.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import xavier


class MinimalRNNState(NamedTuple):
    """What a MinimalRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class MinimalRNN(GatedCell[MinimalRNNState]):
    """Minimal recurrent network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
    """

    remembers = MinimalRNNState

    def __init__(self, dim: int, hidden: int | None = None):
        super().__init__(dim, hidden)
        self.gate = nn.Linear(self.hidden, self.hidden, bias=False)
        self.gate_bias = nn.Parameter(torch.zeros(self.hidden))
        xavier(self.gate.weight)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: MinimalRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], MinimalRNNState]:
        """Map one input."""
        v = self.input(x).tanh()
        u = (self.gate(v) + self.gate_bias + self.recurrent(state.h)).sigmoid()
        h = v.lerp(state.h, u)
        return h, MinimalRNNState(h)

    @classmethod
    def example(cls) -> "MinimalRNN":
        """Return a small instance."""
        return cls(dim=4)
