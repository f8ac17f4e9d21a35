r"""Layer-norm LSTM: what gates read is standardized at every step, and so is what is shown.

Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450, supplementary material, the
LSTM of the reading and handwriting experiments.

    [i, f, g, o]_t = LN(W x_t) + LN(U h_{t-1}) + b         each LN over all four blocks together
    c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
    h_t = sigmoid(o_t) * tanh(LN(c_t))
    y_t = h_t

LN(v) = gain * (v - mean v) / sqrt(var v + 1e-5), with a shift after that of c. c itself is carried
as it is. Gains start at one, the shift of c at zero, each W Xavier, each U orthogonal, and b
uniform in +-1 / sqrt(hidden) but for b_f = 1: were it zero, rows of zeros would stay zeros, where a
norm's gradient is 316, and 63 of them would overflow.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The shifts of the first two norms and b, which are added, are one vector.
See also layer_norm_gru.py, lstm.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class LayerNormLSTMState(NamedTuple):
    """What a layer-norm LSTM remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]


class LayerNormLSTM(GatedCell[LayerNormLSTMState]):
    """Long short-term memory with layer norms inside.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        forget_bias: where the biases of the forget gate start.
    """

    remembers, gates = LayerNormLSTMState, 4

    # The norms keep it expanding: of 32 features, a change of the first input is about a hundred
    # times as large after 100 steps.
    longest_agreement = 63

    def __init__(self, dim: int, hidden: int | None = None, *, forget_bias: float = 1.0):
        super().__init__(dim, hidden, bias=False)
        self.input_norm = nn.LayerNorm(4 * self.hidden)
        self.recurrent_norm = nn.LayerNorm(4 * self.hidden, bias=False)
        self.cell_norm = nn.LayerNorm(self.hidden)
        nn.init.uniform_(self.input_norm.bias, -(self.hidden**-0.5), self.hidden**-0.5)
        self.input_norm.bias.detach()[self.hidden : 2 * self.hidden] = forget_bias

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LayerNormLSTMState
    ) -> tuple[Float[Tensor, "batch hidden"], LayerNormLSTMState]:
        """Map one input."""
        read = self.input_norm(self.input(x))
        i, f, g, o = (read + self.recurrent_norm(self.recurrent(state.h))).chunk(4, -1)
        c = f.sigmoid() * state.c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * self.cell_norm(c).tanh()
        return h, LayerNormLSTMState(h, c)

    @classmethod
    def example(cls) -> "LayerNormLSTM":
        """Return a small instance."""
        return cls(dim=4)
