r"""Cho's GRU: a gate resets the state before the candidate's matrix reads it.

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
Translation", 2014, arXiv:1406.1078, section 2.3.

    r_t = sigmoid(W_r x_t + b_r + U_r h_{t-1} + b'_r)      reset gate
    z_t = sigmoid(W_z x_t + b_z + U_z h_{t-1} + b'_z)      update gate
    n_t = tanh(W_n x_t + b_n + U_n (r_t * h_{t-1}) + b'_n) candidate
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}
    y_t = h_t

Each U starts orthogonal, each W normal with a deviation of 0.01 as in section 4.1.1 of the paper,
and the biases at zero.

Family   gated cell
Forms    loop; step
State    h, (batch, layers, hidden)
Cost     O(time hidden (dim + hidden)) work, two products one after the other at each time step;
         O(hidden (dim + hidden)) in `step`; times layers
Differs  Any number of layers. Two biases, of which one would do, and torch.nn.GRU's names.
See also gru.py (r_t after the matrix), mgu.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class ChoGRUState(NamedTuple):
    """What Cho's GRU remembers."""

    h: Float[Tensor, "batch layers hidden"]


class ChoGRU(Layers[ChoGRUState]):
    """Gated recurrent unit that resets before it multiplies.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases.
    """

    cell = cells.GRU_RESET_BEFORE
    remembers = ChoGRUState

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw small input weights and orthogonal recurrent ones, by gate; biases are zero."""
        super().reset_parameters()
        for layer in range(self.layers):
            nn.init.normal_(self.weights(layer).input, std=0.01)

    @classmethod
    def example(cls) -> "ChoGRU":
        """Return a small instance."""
        return cls(dim=4)
