r"""FastRNN: a residual connection over time, its two weights learned, around the simplest network.

Kusupati et al., "FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural
Network", 2018, arXiv:1901.02358, section 3.1.

    c_t = tanh(W x_t + U h_{t-1} + b)
    h_t = sigmoid(alpha) c_t + sigmoid(beta) h_{t-1}
    y_t = h_t

W and U may each be a product of two thin matrices. At the start these are normal with deviation
0.1, b is one, alpha -3 and beta 3: little enters, and nearly all is kept.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  No sparsity and no quantization. The start is that of the authors' program.
See also fast_grnn.py, leaky_rnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.fast import Fast


class FastRNNState(NamedTuple):
    """What a FastRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class FastRNN(Fast[FastRNNState]):
    """Residual recurrent network with two scalars.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        input_rank: of W; full if absent.
        recurrent_rank: of U; full if absent.
    """

    remembers = FastRNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
    ):
        super().__init__("fast_rnn", dim, hidden, input_rank, recurrent_rank)
        self.bias = nn.Parameter(torch.ones(self.hidden))
        self.alpha = nn.Parameter(torch.tensor(-3.0))
        self.beta = nn.Parameter(torch.tensor(3.0))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: FastRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], FastRNNState]:
        """Map one input."""
        candidate = (self.input(x) + self.bias + self.recurrent(state.h)).tanh()
        h = self.alpha.sigmoid() * candidate + self.beta.sigmoid() * state.h
        return h, FastRNNState(h)

    @classmethod
    def example(cls) -> "FastRNN":
        """Return a small instance."""
        return cls(dim=4)
