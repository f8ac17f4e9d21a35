r"""nBRC: bistable units whose feedback and gate read one another.

Vecoven, Ernst and Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory",
2020, arXiv:2006.05252.

    a_t = 1 + tanh(U_a x_t + W_a h_{t-1} + b_a)            feedback, from 0 to 2
    c_t = sigmoid(U_c x_t + W_c h_{t-1} + b_c)             gate
    h_t = c_t * h_{t-1} + (1 - c_t) * tanh(U x_t + a_t * h_{t-1})
    y_t = h_t

Every matrix starts Xavier, the recurrent ones too, and the biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
See also brc.py, gru.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import xavier


class NBRCState(NamedTuple):
    """What neuromodulated bistable cells remember."""

    h: Float[Tensor, "batch hidden"]


class NBRC(GatedCell[NBRCState]):
    """Recurrently neuromodulated bistable recurrent cell.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
    """

    remembers, gates, recurrent_gates = NBRCState, 3, 2

    def __init__(self, dim: int, hidden: int | None = None):
        super().__init__(dim, hidden, bias=False)
        xavier(self.recurrent.weight, 2)
        self.bias = nn.Parameter(torch.zeros(2 * self.hidden))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: NBRCState
    ) -> tuple[Float[Tensor, "batch hidden"], NBRCState]:
        """Map one input."""
        read, candidate = self.input(x).split([2 * self.hidden, self.hidden], -1)
        a, c = (read + self.bias + self.recurrent(state.h)).chunk(2, -1)
        fed = candidate + (1 + a.tanh()) * state.h
        h = fed.tanh().lerp(state.h, c.sigmoid())
        return h, NBRCState(h)

    @classmethod
    def example(cls) -> "NBRC":
        """Return a small instance."""
        return cls(dim=4)
