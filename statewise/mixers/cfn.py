r"""CFN: two gates on squashed states and inputs, so that without input every state decays to zero.

Laurent and von Brecht, "A recurrent neural network without chaos", 2016, arXiv:1612.06212.

    theta_t = sigmoid(U_theta h_{t-1} + V_theta x_t + b_theta)     forget gate
    eta_t = sigmoid(U_eta h_{t-1} + V_eta x_t + b_eta)             input gate
    h_t = theta_t * tanh(h_{t-1}) + eta_t * tanh(W x_t)
    y_t = h_t

b_theta starts at 1 and b_eta at -1, each U orthogonal, and V and W Xavier.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The weights start as is usual here, where the paper, as far as we know, draws uniformly.
See also ran.py, atr.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class CFNState(NamedTuple):
    """What a chaos-free network remembers."""

    h: Float[Tensor, "batch hidden"]


class CFN(GatedCell[CFNState]):
    """Chaos-free network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        forget_bias: where the biases of the forget gate start, and those of the input gate at minus
            as much.
    """

    remembers, gates, recurrent_gates = CFNState, 3, 2

    def __init__(self, dim: int, hidden: int | None = None, *, forget_bias: float = 1.0):
        super().__init__(dim, hidden, bias=False)
        start = torch.full((self.hidden,), forget_bias)
        self.bias = nn.Parameter(torch.cat([start, -start]))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: CFNState
    ) -> tuple[Float[Tensor, "batch hidden"], CFNState]:
        """Map one input."""
        read, content = self.input(x).split([2 * self.hidden, self.hidden], -1)
        theta, eta = (read + self.bias + self.recurrent(state.h)).sigmoid().chunk(2, -1)
        h = theta * state.h.tanh() + eta * content.tanh()
        return h, CFNState(h)

    @classmethod
    def example(cls) -> "CFN":
        """Return a small instance."""
        return cls(dim=4)
