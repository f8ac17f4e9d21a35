r"""TKAN: an LSTM whose output gate listens to small recurrent networks of learned functions.

Genet and Inzirillo, "TKAN: Temporal Kolmogorov-Arnold Networks", 2024, arXiv:2405.07344, section 3.

    i_t, f_t = sigmoid(W x_t + U h_{t-1} + b)              a block of rows of W and U for each
    g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
    e_kt = KAN_k(A_k x_t + B_k s_{k,t-1})                  for k = 1 ... layers
    s_kt = u_k * e_kt + v_k * s_{k,t-1}
    o_t = sigmoid(V [e_1t, ..., e_layers,t] + d)
    c_t = f_t * c_{t-1} + i_t * g_t
    h_t = o_t * tanh(c_t)
    y_t = h_t

KAN_k(a)_j = sum_i [w_ji silu(a_i) + sum_m c_jim B_m(a_i)], B_m B-splines on a grid over [-1, 1].

W and V start Xavier, U, A_k and B_k orthogonal, rows [u_k, v_k] too, b_f at one and other biases at
zero.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden) each; s, (batch, layers width)
Cost     O(time (hidden (dim + hidden) + layers width (hidden + splines width))) work, time steps
         one after another; the same without time in `step`
Differs  The authors' program squashes g by a sigmoid, and in one of its branches mixes the rows of
         a batch where there are several layers; here g is the LSTM's, and rows stay apart. It also
         has a layer norm before the splines.
See also lstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import orthogonal, xavier
from statewise.mixers.parts.kan import KAN


class TKANState(NamedTuple):
    """What a TKAN remembers: what it last showed, its cells, and the sub-layers' states."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]
    s: Float[Tensor, "batch layers_width"]


class TKAN(GatedCell[TKANState]):
    """Temporal Kolmogorov-Arnold network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: recurrent Kolmogorov-Arnold layers, side by side.
        width: features of each; `dim` if absent.
        grid: intervals of the splines' grid.
        order: degree of the splines.
    """

    remembers, gates = TKANState, 3

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        layers: int = 1,
        width: int | None = None,
        grid: int = 5,
        order: int = 3,
    ):
        super().__init__(dim, hidden)
        if layers < 1:
            raise ValueError(f"tkan: layers = {layers} should be at least 1")
        width = dim if width is None else width
        self.layers, self.width = layers, width
        self.read = nn.Linear(dim, layers * width, bias=False)
        self.fed_back = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.kans = nn.ModuleList(KAN(width, width, grid=grid, order=order) for _ in range(layers))
        both = nn.init.orthogonal_(torch.empty(layers, 2 * width))
        self.taken = nn.Parameter(both[:, :width].flatten())
        self.kept = nn.Parameter(both[:, width:].flatten())
        self.output = nn.Linear(layers * width, self.hidden)
        self.hold(1, 1.0, None)
        orthogonal(self.read.weight, layers)
        xavier(self.output.weight)
        nn.init.zeros_(self.output.bias)
        for matrix in self.fed_back.parameters():
            orthogonal(matrix)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of h, c and s."""
        return {"h": (self.hidden,), "c": (self.hidden,), "s": (self.layers * self.width,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: TKANState
    ) -> tuple[Float[Tensor, "batch hidden"], TKANState]:
        """Map one input."""
        before, read = state.s.chunk(self.layers, -1), self.read(x).chunk(self.layers, -1)
        parts = zip(self.kans, self.fed_back, read, before, strict=True)
        e = torch.cat([kan(a + back(s)) for kan, back, a, s in parts], -1)
        i, f, g = (self.input(x) + self.recurrent(state.h)).chunk(3, -1)
        c = f.sigmoid() * state.c + i.sigmoid() * g.tanh()
        h = self.output(e).sigmoid() * c.tanh()
        return h, TKANState(h, c, self.taken * e + self.kept * state.s)

    @classmethod
    def example(cls) -> "TKAN":
        """Return a small instance."""
        return cls(dim=4, hidden=3, layers=2)
