r"""Multiplicative LSTM: each input chooses how the gates read the last state.

Krause, Lu, Murray and Renals, "Multiplicative LSTM for sequence modelling", 2016, arXiv:1609.07959,
section 3.

    m_t = (W_m x_t) * (U_m h_{t-1})                        in place of h_{t-1}
    i_t, f_t, o_t = sigmoid(W x_t + U m_t + b)             a block of rows of W and U for each
    g_t = tanh(W_g x_t + U_g m_t + b_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
    y_t = h_t

Each W starts Xavier, each U orthogonal, and the biases zero but for b_f = 1.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The paper leaves g linear and squashes after the output gate; here both are where an LSTM
         has them, as in the authors' later program and in the sentiment model of Radford et al.
         No weight normalization.
See also lstm.py, mlstm.py (another cell of that name)
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import orthogonal, xavier


class MultiplicativeLSTMState(NamedTuple):
    """What a multiplicative LSTM remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]


class MultiplicativeLSTM(GatedCell[MultiplicativeLSTMState]):
    """Long short-term memory with a recurrent matrix for each input.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        forget_bias: where the biases of the forget gate start.
        longest: if given, they start for memories of up to as many steps instead (chrono).
    """

    remembers, gates, recurrent_gates = MultiplicativeLSTMState, 4, 1

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        forget_bias: float = 1.0,
        longest: int | None = None,
    ):
        super().__init__(dim, hidden)
        self.multiplier = nn.Linear(dim, self.hidden, bias=False)
        self.mixed = nn.Linear(self.hidden, 4 * self.hidden, bias=False)
        xavier(self.multiplier.weight)
        orthogonal(self.mixed.weight, 4)
        self.hold(1, forget_bias, longest)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: MultiplicativeLSTMState
    ) -> tuple[Float[Tensor, "batch hidden"], MultiplicativeLSTMState]:
        """Map one input."""
        m = self.multiplier(x) * self.recurrent(state.h)
        i, f, g, o = (self.input(x) + self.mixed(m)).chunk(4, -1)
        c = f.sigmoid() * state.c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, MultiplicativeLSTMState(h, c)

    @classmethod
    def example(cls) -> "MultiplicativeLSTM":
        """Return a small instance."""
        return cls(dim=4)
