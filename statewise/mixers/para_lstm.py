r"""ParaLSTM: an LSTM of coupled gates and peepholes whose units read their own past alone.

Danieli et al., "ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language Models",
2025, arXiv:2510.21450.

    f_t = sigmoid(a_f * h_{t-1} + B_f x_t + p_f * c_{t-1} + b_f)
    g_t = tanh(a_g * h_{t-1} + B_g x_t + b_g)
    c_t = f_t * c_{t-1} + (1 - f_t) * g_t
    o_t = sigmoid(a_o * h_{t-1} + B_o x_t + p_o * c_t + b_o)
    h_t = o_t * tanh(c_t)
    y_t = h_t

a and p are vectors; B are block-diagonal, a block for each head. At the start a and p are normal
with deviation 2 / sqrt(5 hidden), B Xavier by block, b_f runs from 0 to -1 over the units, and the
other biases are zero, as in the published code.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden)
Cost     O(time hidden dim / heads) work, of which O(time hidden) one time after another;
         O(hidden dim / heads) in `step`
Differs  The cell alone, without the block around it, and without its parallel solver.
See also para_gru.py, elstm.py, lstm.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.diagonal_cell import DiagonalCell


class ParaLSTMState(NamedTuple):
    """What a ParaLSTM remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]


class ParaLSTM(DiagonalCell[ParaLSTMState]):
    """LSTM with diagonal recurrence, in which what is forgotten makes room for what enters.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        heads: parts of the input, each read by as large a part of the units.
    """

    remembers = ParaLSTMState

    def __init__(self, dim: int, hidden: int | None = None, *, heads: int = 1):
        super().__init__("para_lstm", dim, hidden, heads=heads, gates=3, vectors=5)
        self.start_as_pararnn(fan_out=self.hidden // heads)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ParaLSTMState
    ) -> tuple[Float[Tensor, "batch hidden"], ParaLSTMState]:
        """Map one input."""
        h, c = state
        a_f, a_o, a_g, p_f, p_o = self.recurrent.unbind()
        f, o, g = self.drives(x)
        f = (a_f * h + p_f * c + f).sigmoid()
        c = f * c + (1 - f) * (a_g * h + g).tanh()
        h = (a_o * h + p_o * c + o).sigmoid() * c.tanh()
        return h, ParaLSTMState(h, c)

    @classmethod
    def example(cls) -> "ParaLSTM":
        """Return a small instance."""
        return cls(dim=4, hidden=6, heads=2)
