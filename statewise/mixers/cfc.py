r"""CfC: the closed form of a liquid network, which blends two states by the time that has passed.

Hasani et al., "Closed-form Continuous-time Neural Networks", 2022, arXiv:2106.13898.

    v_t = lecun_tanh(W_v [x_t, h_{t-1}] + b_v)               the backbone, of `layers` such maps
    a_t = tanh(W_a v_t + b_a);  b_t = tanh(W_b v_t + b_b)
    k_t = sigmoid((W_k v_t + b_k) elapsed_t + W_m v_t + b_m)
    h_t = (1 - k_t) * a_t + k_t * b_t            or  a_t + k_t * b_t  with `gate` false
    y_t = h_t

lecun_tanh(u) = 1.7159 tanh(0.666 u); elapsed_t is the time since the input before, 1 if not said.
Matrices start Xavier by map; biases uniform as torch's, as in the published code.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time units (dim + hidden + units layers)) work, time steps one after another; as much for
         one in `step`
Differs  The published code's "pure" form, without gates, is left out.
See also hippo_rnn.py, phased_lstm.py
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.elapsed import ElapsedCell
from statewise.mixers.parts.initial import xavier


class CfCState(NamedTuple):
    """What a CfC remembers."""

    h: Float[Tensor, "batch hidden"]


class CfC(ElapsedCell[CfCState]):
    """Closed-form continuous-time cell.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        units: of each layer of the backbone.
        layers: of the backbone.
        gate: whether the two states share one gate, as k and 1 - k.
    """

    remembers = CfCState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        units: int = 128,
        layers: int = 1,
        gate: bool = True,
    ):
        super().__init__()
        if units < 1 or layers < 1:
            raise ValueError(f"cfc: units = {units} and layers = {layers} should be at least 1")
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.gate = gate
        sizes = [dim + self.hidden, *[units] * layers]
        self.backbone = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.heads = nn.Linear(units, 4 * self.hidden)
        for layer in self.backbone:
            xavier(layer.get_parameter("weight"))
        xavier(self.heads.weight, 4)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}

    def cell(
        self, x: Float[Tensor, "batch timed"], state: CfCState
    ) -> tuple[Float[Tensor, "batch hidden"], CfCState]:
        """Map one input, whose last feature is the time elapsed."""
        x, elapsed = x.split([self.dim, 1], -1)
        v = torch.cat([x, state.h], -1)
        for layer in self.backbone:
            v = 1.7159 * (0.666 * layer(v)).tanh()
        a, b, k, m = self.heads(v).chunk(4, -1)
        k = (k * elapsed + m).sigmoid()
        kept = a.tanh() * (1 - k) if self.gate else a.tanh()
        h = kept + k * b.tanh()
        return h, CfCState(h)

    @classmethod
    def example(cls) -> "CfC":
        """Return a small instance."""
        return cls(dim=4, hidden=3, units=5)
