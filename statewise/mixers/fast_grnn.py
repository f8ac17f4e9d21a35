r"""FastGRNN: the gate and the candidate share their matrices, and differ in their biases alone.

Kusupati et al., "FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated Recurrent Neural
Network", 2018, arXiv:1901.02358, section 3.2.

    a_t = W x_t + U h_{t-1}
    z_t = sigmoid(a_t + b_z)                               gate
    c_t = tanh(a_t + b_h)                                  candidate
    h_t = (sigmoid(zeta) (1 - z_t) + sigmoid(nu)) * c_t + z_t * h_{t-1}
    y_t = h_t

W and U may each be a product of two thin matrices. At the start these are normal with deviation
0.1, the biases are one, zeta is 1 and nu -4.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  No sparsity and no quantization. The start is that of the authors' program.
See also fast_rnn.py, ugrnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.fast import Fast


class FastGRNNState(NamedTuple):
    """What a FastGRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class FastGRNN(Fast[FastGRNNState]):
    """Gated recurrent network with one pair of matrices.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        input_rank: of W; full if absent.
        recurrent_rank: of U; full if absent.
    """

    remembers = FastGRNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        input_rank: int | None = None,
        recurrent_rank: int | None = None,
    ):
        super().__init__("fast_grnn", dim, hidden, input_rank, recurrent_rank)
        self.gate_bias = nn.Parameter(torch.ones(self.hidden))
        self.candidate_bias = nn.Parameter(torch.ones(self.hidden))
        self.zeta = nn.Parameter(torch.tensor(1.0))
        self.nu = nn.Parameter(torch.tensor(-4.0))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: FastGRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], FastGRNNState]:
        """Map one input."""
        both = self.input(x) + self.recurrent(state.h)
        gate = (both + self.gate_bias).sigmoid()
        candidate = (both + self.candidate_bias).tanh()
        entering = self.zeta.sigmoid() * (1 - gate) + self.nu.sigmoid()
        h = entering * candidate + gate * state.h
        return h, FastGRNNState(h)

    @classmethod
    def example(cls) -> "FastGRNN":
        """Return a small instance."""
        return cls(dim=4)
