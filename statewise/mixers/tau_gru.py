r"""tau-GRU: a gated unit that also reads what it was some steps ago.

Erichson, Lim and Mahoney, "Gated Recurrent Neural Networks with Weighted Time-Delay Feedback",
2022, arXiv:2212.00228, section 3.

    u_t = tanh(W_1 h_{t-1} + U_1 x_t + b_1)
    z_t = tanh(W_2 h_{t-1-delay} + U_2 x_t + b_2)          feedback from the past
    g_t = sigmoid(W_3 h_{t-1} + U_3 x_t + b_3)             step size
    a_t = sigmoid(W_4 h_{t-1} + U_4 x_t + b_4)             weight of the feedback
    h_t = (1 - g_t) * h_{t-1} + g_t * (u_t + a_t * z_t)
    y_t = h_t

h is zero before the first input. All parameters start uniform in +-1 / sqrt(hidden).

Family   gated cell
Forms    program; step
State    h, (batch, hidden); past, (batch, delay, hidden): the states before it, oldest first
         (1 + delay) hidden numbers
Cost     O(time hidden (dim + hidden + delay)) work, time steps one after another;
         O(hidden (dim + hidden + delay)) in `step`
Differs  The step of the paper's delay equation is one, and its two factors for u and a * z too. How
         weights start was not in the text at hand, but in a program of the paper's experiments.
See also gru.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class TauGRUState(NamedTuple):
    """What a tau-GRU remembers: its state, and those before it, the oldest first."""

    h: Float[Tensor, "batch hidden"]
    past: Float[Tensor, "batch delay hidden"]


class TauGRU(GatedCell[TauGRUState]):
    """Gated recurrent unit with weighted feedback after a delay.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        delay: how many steps before the last state the other is that it reads.
    """

    remembers, gates, recurrent_gates = TauGRUState, 4, 3

    def __init__(self, dim: int, hidden: int | None = None, *, delay: int = 10):
        if delay < 1:
            raise ValueError(f"tau_gru: delay = {delay} should be at least 1")
        super().__init__(dim, hidden)
        self.delay = delay
        self.delayed = nn.Linear(self.hidden, self.hidden, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden**-0.5), self.hidden**-0.5)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the state and of those before it."""
        return {"h": (self.hidden,), "past": (self.delay, self.hidden)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: TauGRUState
    ) -> tuple[Float[Tensor, "batch hidden"], TauGRUState]:
        """Map one input."""
        h, past = state
        x_u, x_z, x_g, x_a = self.input(x).chunk(4, -1)
        h_u, h_g, h_a = self.recurrent(h).chunk(3, -1)
        u, z = (x_u + h_u).tanh(), (x_z + self.delayed(past[:, 0])).tanh()
        g, a = (x_g + h_g).sigmoid(), (x_a + h_a).sigmoid()
        past = torch.cat([past, h[:, None]], 1)[:, 1:]
        h = h.lerp(u + a * z, g)
        return h, TauGRUState(h, past)

    @classmethod
    def example(cls) -> "TauGRU":
        """Return a small instance."""
        return cls(dim=4, delay=3)
