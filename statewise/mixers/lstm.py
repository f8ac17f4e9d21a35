r"""LSTM: a memory cell behind gates that say what enters it, what stays and what is shown.

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; the forget gate
is from Gers, Schmidhuber and Cummins, "Learning to Forget", Neural Computation 12(10), 2000.

    i_t = sigmoid(W_i x_t + b_i + U_i h_{t-1} + b'_i)      input gate
    f_t = sigmoid(W_f x_t + b_f + U_f h_{t-1} + b'_f)      forget gate
    g_t = tanh(W_g x_t + b_g + U_g h_{t-1} + b'_g)         candidate
    o_t = sigmoid(W_o x_t + b_o + U_o h_{t-1} + b'_o)      output gate
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
    y_t = h_t

Family   gated cell
Forms    loop; step
State    h and c, (batch, layers, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; times layers
Differs  No memory blocks with several cells. Two biases and the names of the parameters are
         torch.nn.LSTM's, whose `state_dict` loads. Each U starts orthogonal, each W Xavier, and the
         biases zero but for b_f = 1 (Gers et al.), where torch draws all uniformly.
See also gru.py, min_lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class LSTMState(NamedTuple):
    """What an LSTM remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch layers hidden"]
    c: Float[Tensor, "batch layers hidden"]


class LSTM(Layers[LSTMState]):
    """Long short-term memory; it loads the `state_dict` of a torch.nn.LSTM without projections.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases.
    """

    cell = cells.LSTM
    remembers = LSTMState

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights, and open the forget gate: its two biases add up to one."""
        super().reset_parameters()
        for layer in range(self.layers):
            bias = self.weights(layer).input_bias
            if bias is not None:
                bias[self.hidden : 2 * self.hidden] = 1

    @classmethod
    def example(cls) -> "LSTM":
        """Return a small instance."""
        return cls(dim=4)
