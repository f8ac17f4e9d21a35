r"""NAS cell: a memory cell that a search put together, with eight gates in a tree.

Zoph and Le, "Neural Architecture Search with Reinforcement Learning", 2017, arXiv:1611.01578,
section 4.2.

    p_t = W x_t,  q_t = U h_{t-1}                          eight blocks each
    a_0, a_2, a_5, a_7 = sigmoid(p + q)                    each of its own blocks
    a_4, a_6 = tanh(p + q);  a_1 = relu(p_1 + q_1);  a_3 = relu(p_3 * q_3)
    b_0 = tanh(tanh(a_0 * a_1) + c_{t-1})
    b_1 = tanh(a_2 + a_3)
    b_2 = tanh(a_4 * a_5)
    b_3 = sigmoid(a_6 + a_7)
    c_t = b_0 * b_1
    h_t = tanh(c_t * tanh(b_2 + b_3))
    y_t = h_t

Every block starts Xavier.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The drawing of the paper was read by way of the authors' program. No biases, and no
         projection.
See also lstm.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import xavier


class NASCellState(NamedTuple):
    """What a NAS cell remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]


class NASCell(GatedCell[NASCellState]):
    """The recurrent cell found by neural architecture search.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
    """

    remembers, gates = NASCellState, 8

    def __init__(self, dim: int, hidden: int | None = None):
        super().__init__(dim, hidden, bias=False)
        xavier(self.recurrent.weight, self.gates)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: NASCellState
    ) -> tuple[Float[Tensor, "batch hidden"], NASCellState]:
        """Map one input."""
        p, q = self.input(x).chunk(8, -1), self.recurrent(state.h).chunk(8, -1)
        s = [a + b for a, b in zip(p, q, strict=True)]
        b0 = ((s[0].sigmoid() * s[1].relu()).tanh() + state.c).tanh()
        b1 = (s[2].sigmoid() + (p[3] * q[3]).relu()).tanh()
        b2 = (s[4].tanh() * s[5].sigmoid()).tanh()
        b3 = (s[6].tanh() + s[7].sigmoid()).sigmoid()
        c = b0 * b1
        h = (c * (b2 + b3).tanh()).tanh()
        return h, NASCellState(h, c)

    @classmethod
    def example(cls) -> "NASCell":
        """Return a small instance."""
        return cls(dim=4)
