r"""GRU: one gate decides how much of the old state stays, another how much of it is read.

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation", 2014, arXiv:1406.1078, section 2.3.

    r_t = sigmoid(W_r x_t + b_r + U_r h_{t-1} + b'_r)      reset gate
    z_t = sigmoid(W_z x_t + b_z + U_z h_{t-1} + b'_z)      update gate
    n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + b'_n)) candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}
    y_t = h_t

Family   gated cell
Forms    loop; step
State    h, (batch, layers, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; times layers
Differs  r_t acts after U_n, not before it, as in torch.nn.GRU, whose `state_dict` loads: all
         products with h_{t-1} are one. Each U starts orthogonal, each W Xavier, and the biases
         zero, where torch draws all uniformly.
See also lstm.py, min_gru.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class GRUState(NamedTuple):
    """What a GRU remembers."""

    h: Float[Tensor, "batch layers hidden"]


class GRU(Layers[GRUState]):
    """Gated recurrent unit; it loads the `state_dict` of a torch.nn.GRU.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases.
    """

    cell = cells.GRU
    remembers = GRUState

    @classmethod
    def example(cls) -> "GRU":
        """Return a small instance."""
        return cls(dim=4)
