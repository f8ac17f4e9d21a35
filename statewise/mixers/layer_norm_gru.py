r"""Layer-norm GRU: what gates and candidate read is standardized at every step.

Ba, Kiros and Hinton, "Layer Normalization", 2016, arXiv:1607.06450, supplementary material, the
equations of the gated recurrent unit.

    [z, r]_t = LN(W x_t) + LN(U h_{t-1})                   each LN over both blocks together
    n_t = tanh(LN(W_n x_t) + sigmoid(r_t) * LN(U_n h_{t-1}))
    h_t = (1 - sigmoid(z_t)) * h_{t-1} + sigmoid(z_t) * n_t
    y_t = h_t

LN(v) = gain * (v - mean v) / sqrt(var v + 1e-5) + shift. Gains start at one, each W Xavier, each U
orthogonal, and shifts at zero but for that of W_n x, uniform in +-1 / sqrt(hidden): were it zero,
rows of zeros would stay zeros, where a norm's gradient is 316, and 63 of them would overflow.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The shifts of the two norms in z and r, which are added, are one vector.
See also layer_norm_lstm.py, gru.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class LayerNormGRUState(NamedTuple):
    """What a layer-norm GRU remembers."""

    h: Float[Tensor, "batch hidden"]


class LayerNormGRU(GatedCell[LayerNormGRUState]):
    """Gated recurrent unit with layer norms inside.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
    """

    remembers, gates = LayerNormGRUState, 3

    def __init__(self, dim: int, hidden: int | None = None):
        super().__init__(dim, hidden, bias=False)
        self.input_gates_norm = nn.LayerNorm(2 * self.hidden)
        self.recurrent_gates_norm = nn.LayerNorm(2 * self.hidden, bias=False)
        self.input_norm = nn.LayerNorm(self.hidden)
        self.recurrent_norm = nn.LayerNorm(self.hidden)
        nn.init.uniform_(self.input_norm.bias, -(self.hidden**-0.5), self.hidden**-0.5)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LayerNormGRUState
    ) -> tuple[Float[Tensor, "batch hidden"], LayerNormGRUState]:
        """Map one input."""
        sizes = [2 * self.hidden, self.hidden]
        x_gates, x_candidate = self.input(x).split(sizes, -1)
        h_gates, h_candidate = self.recurrent(state.h).split(sizes, -1)
        gates = self.input_gates_norm(x_gates) + self.recurrent_gates_norm(h_gates)
        z, r = gates.sigmoid().chunk(2, -1)
        n = (self.input_norm(x_candidate) + r * self.recurrent_norm(h_candidate)).tanh()
        h = state.h.lerp(n, z)
        return h, LayerNormGRUState(h)

    @classmethod
    def example(cls) -> "LayerNormGRU":
        """Return a small instance."""
        return cls(dim=4)
