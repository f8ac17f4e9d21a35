r"""RAN: what enters reads the input alone, so that the memory is a weighted sum of inputs.

Lee, Levy and Zettlemoyer, "Recurrent Additive Networks", 2017, arXiv:1705.07393, section 2.

    v_t = W_v x_t                                          content
    i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)             input gate
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)             forget gate
    c_t = i_t * v_t + f_t * c_{t-1}
    h_t = tanh(c_t), or c_t
    y_t = h_t

Each W starts Xavier, each U orthogonal, and the biases at zero.

Family   gated cell
Forms    program; step
State    c, (batch, hidden); h follows from it
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  How the paper starts the weights is not known to us.
See also lstm.py, sru.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class RANState(NamedTuple):
    """What a recurrent additive network remembers."""

    c: Float[Tensor, "batch hidden"]


class RAN(GatedCell[RANState]):
    """Recurrent additive network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        squash: whether h is tanh(c), and not c.
    """

    remembers, gates, recurrent_gates = RANState, 3, 2

    def __init__(self, dim: int, hidden: int | None = None, *, squash: bool = True):
        super().__init__(dim, hidden, bias=False)
        self.squash = squash
        self.bias = nn.Parameter(torch.zeros(2 * self.hidden))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: RANState
    ) -> tuple[Float[Tensor, "batch hidden"], RANState]:
        """Map one input."""
        content, read = self.input(x).split([self.hidden, 2 * self.hidden], -1)
        gates = read + self.bias + self.recurrent(self.shown(state.c))
        admit, forget = gates.sigmoid().chunk(2, -1)
        c = admit * content + forget * state.c
        return self.shown(c), RANState(c)

    def shown(self, c: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return h."""
        return c.tanh() if self.squash else c

    @classmethod
    def example(cls) -> "RAN":
        """Return a small instance."""
        return cls(dim=4)
