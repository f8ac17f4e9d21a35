r"""ATR: the sum of two products is the input gate, and their difference the forget gate.

Zhang, Xiong, Su, Lin and Zhang, "Simplifying Neural Machine Translation with Addition-Subtraction
Twin-Gated Recurrent Networks", 2018, arXiv:1810.12546.

    p_t = W x_t + b
    q_t = U h_{t-1}
    i_t = sigmoid(p_t + q_t)                               input gate
    f_t = sigmoid(p_t - q_t)                               forget gate
    h_t = i_t * p_t + f_t * h_{t-1}
    y_t = h_t

Nothing bounds h but what is forgotten. W starts Xavier, U orthogonal, and b at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  How the paper starts the weights is not known to us.
See also ran.py, ugrnn.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.gated_cell import GatedCell


class ATRState(NamedTuple):
    """What a twin-gated network remembers."""

    h: Float[Tensor, "batch hidden"]


class ATR(GatedCell[ATRState]):
    """Addition-subtraction twin-gated recurrent network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        bias: whether there is b.
    """

    remembers = ATRState

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ATRState
    ) -> tuple[Float[Tensor, "batch hidden"], ATRState]:
        """Map one input."""
        p, q = self.input(x), self.recurrent(state.h)
        h = (p + q).sigmoid() * p + (p - q).sigmoid() * state.h
        return h, ATRState(h)

    @classmethod
    def example(cls) -> "ATR":
        """Return a small instance."""
        return cls(dim=4)
