r"""ParaGRU: a GRU whose units read their own past alone, so that Newton's steps are scans.

Danieli et al., "ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language Models",
2025, arXiv:2510.21450.

    z_t = sigmoid(a_z * h_{t-1} + B_z x_t + b_z)
    r_t = sigmoid(a_r * h_{t-1} + B_r x_t + b_r)
    n_t = tanh(a_n * (h_{t-1} * r_t) + B_n x_t + b_n)
    h_t = (1 - z_t) * h_{t-1} + z_t * n_t
    y_t = h_t

a are vectors; B are block-diagonal, a block for each head. At the start a is normal with deviation
2 / sqrt(5 hidden), B Xavier for fans of dim / heads and hidden, b_z runs from 0 to -1 over the
units, and the other biases are zero, as in the published code.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden dim / heads) work, of which O(time hidden) one time after another;
         O(hidden dim / heads) in `step`
Differs  The cell alone, without the block around it, and without its parallel solver.
See also para_lstm.py, gru.py, min_gru.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.diagonal_cell import DiagonalCell


class ParaGRUState(NamedTuple):
    """What a ParaGRU remembers."""

    h: Float[Tensor, "batch hidden"]


class ParaGRU(DiagonalCell[ParaGRUState]):
    """GRU with diagonal recurrence.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        heads: parts of the input, each read by as large a part of the units.
    """

    remembers = ParaGRUState

    def __init__(self, dim: int, hidden: int | None = None, *, heads: int = 1):
        super().__init__("para_gru", dim, hidden, heads=heads, gates=3, vectors=3)
        self.start_as_pararnn(fan_out=self.hidden)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ParaGRUState
    ) -> tuple[Float[Tensor, "batch hidden"], ParaGRUState]:
        """Map one input."""
        h, (a_z, a_r, a_n) = state.h, self.recurrent.unbind()
        z, r, n = self.drives(x)
        z = (a_z * h + z).sigmoid()
        r = (a_r * h + r).sigmoid()
        h = (1 - z) * h + z * (a_n * (h * r) + n).tanh()
        return h, ParaGRUState(h)

    @classmethod
    def example(cls) -> "ParaGRU":
        """Return a small instance."""
        return cls(dim=4, hidden=6, heads=2)
