r"""eLSTM: an LSTM whose units read their own cell alone, which real-time learning can follow.

Irie, Gopalakrishnan and Schmidhuber, "Exploring the Promise and Limits of Real-Time Recurrent
Learning", 2023, arXiv:2305.19044.

    f_t = sigmoid(F x_t + w_f * c_{t-1} + b_f)
    z_t = tanh(Z x_t + w_z * c_{t-1} + b_z)
    c_t = f_t * c_{t-1} + (1 - f_t) * z_t
    y_t = c_t * sigmoid(W_o [x_t, c_t] + b_o)

w are vectors. Since c_t depends on c_{t-1} unit by unit, and the output gate is outside of the
recurrence, exact real-time recurrent learning costs as much memory as the parameters, not their
number times `hidden`. All starts normal with deviation 0.1, as in the published code.

Family   gated cell
Forms    program; step
State    c, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, of which O(time hidden) one time after another;
         O(hidden (dim + hidden)) in `step`
See also para_lstm.py, lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.diagonal_cell import DiagonalCell


class ELSTMState(NamedTuple):
    """What an eLSTM remembers."""

    c: Float[Tensor, "batch hidden"]


class ELSTM(DiagonalCell[ELSTMState]):
    """LSTM with diagonal recurrence and an output gate beside it.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        forget_bias: added to what b_f starts with.
    """

    remembers = ELSTMState

    def __init__(self, dim: int, hidden: int | None = None, *, forget_bias: float = 0.0):
        super().__init__("elstm", dim, hidden, heads=1, gates=2, vectors=2)
        self.output = nn.Linear(dim + self.hidden, self.hidden)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        with torch.no_grad():
            self.bias[0] += forget_bias

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ELSTMState
    ) -> tuple[Float[Tensor, "batch hidden"], ELSTMState]:
        """Map one input."""
        c, (w_f, w_z) = state.c, self.recurrent.unbind()
        f, z = self.drives(x)
        f = (w_f * c + f).sigmoid()
        c = f * c + (1 - f) * (w_z * c + z).tanh()
        return c * self.output(torch.cat([x, c], -1)).sigmoid(), ELSTMState(c)

    @classmethod
    def example(cls) -> "ELSTM":
        """Return a small instance."""
        return cls(dim=4, hidden=5)
