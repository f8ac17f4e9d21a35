r"""BRC: every unit feeds itself back, and has two stable states where that feedback exceeds one.

Vecoven, Ernst and Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory",
2020, arXiv:2006.05252.

    a_t = 1 + tanh(U_a x_t + w_a * h_{t-1} + b_a)          feedback, from 0 to 2
    c_t = sigmoid(U_c x_t + w_c * h_{t-1} + b_c)           gate
    h_t = c_t * h_{t-1} + (1 - c_t) * tanh(U x_t + a_t * h_{t-1})
    y_t = h_t

A unit's memory is its own: w_a and w_c are vectors. They start at one, each U Xavier, and the
biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time dim hidden) work, in one product but for O(time hidden); O(dim hidden) in `step`
See also nbrc.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class BRCState(NamedTuple):
    """What bistable cells remember."""

    h: Float[Tensor, "batch hidden"]


class BRC(GatedCell[BRCState]):
    """Bistable recurrent cell.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
    """

    remembers, gates, recurrent_gates = BRCState, 3, 0

    def __init__(self, dim: int, hidden: int | None = None):
        super().__init__(dim, hidden, bias=False)
        self.feedback, self.gate = (nn.Parameter(torch.ones(self.hidden)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(2 * self.hidden))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: BRCState
    ) -> tuple[Float[Tensor, "batch hidden"], BRCState]:
        """Map one input."""
        read, candidate = self.input(x).split([2 * self.hidden, self.hidden], -1)
        first, second = (read + self.bias).chunk(2, -1)
        a = 1 + (first + self.feedback * state.h).tanh()
        c = (second + self.gate * state.h).sigmoid()
        h = (candidate + a * state.h).tanh().lerp(state.h, c)
        return h, BRCState(h)

    @classmethod
    def example(cls) -> "BRC":
        """Return a small instance."""
        return cls(dim=4)
