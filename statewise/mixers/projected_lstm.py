r"""Projected LSTM: many cells, of which the gates read a few mixtures only.

Sak, Senior and Beaufays, "Long Short-Term Memory Recurrent Neural Network Architectures for Large
Scale Acoustic Modeling", 2014, arXiv:1402.1128, section 2.1.

    i_t, f_t, o_t = sigmoid(W x_t + b + U r_{t-1} + b')    a block of rows of W and U for each
    g_t = tanh(W_g x_t + b_g + U_g r_{t-1} + b'_g)
    c_t = f_t * c_{t-1} + i_t * g_t
    r_t = W_r (o_t * tanh(c_t))                            projection
    y_t = r_t

Each U and W_r start orthogonal, each W Xavier, and the biases zero but for b_f = 1.

Family   gated cell
Forms    program; step
State    r, (batch, projection); c, (batch, hidden)
Cost     O(time hidden (dim + projection)) work, time steps one after another;
         O(hidden (dim + projection)) in `step`
Differs  No peepholes, and no second projection that only the output layer reads. Names of the
         parameters are torch.nn.LSTM's with `proj_size`, whose `state_dict` of one layer loads.
See also lstm.py, peephole_lstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from statewise.mixers.base import Cell
from statewise.mixers.parts.initial import orthogonal, xavier


class ProjectedLSTMState(NamedTuple):
    """What a projected LSTM remembers: what it last showed, and its cells."""

    r: Float[Tensor, "batch projection"]
    c: Float[Tensor, "batch hidden"]


class ProjectedLSTM(Cell[ProjectedLSTMState]):
    """Long short-term memory whose output is a projection.

    Args:
        dim: features read.
        hidden: cells; `dim` if absent.
        projection: features that the gates read and that are answered; half the cells if absent.
        forget_bias: where one of the two biases of the forget gate starts.
    """

    remembers = ProjectedLSTMState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        projection: int | None = None,
        forget_bias: float = 1.0,
    ):
        super().__init__()
        self.dim = dim
        self.hidden = dim if hidden is None else hidden
        self.out = (self.hidden + 1) // 2 if projection is None else projection
        if not 1 <= self.out <= self.hidden:
            raise ValueError(
                f"projected_lstm: projection = {self.out} should be from 1 to {self.hidden}"
            )
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * self.hidden, dim))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * self.hidden, self.out))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(4 * self.hidden))
        self.bias_hh_l0 = nn.Parameter(torch.zeros(4 * self.hidden))
        self.weight_hr_l0 = nn.Parameter(torch.empty(self.out, self.hidden))
        xavier(self.weight_ih_l0, 4)
        orthogonal(self.weight_hh_l0, 4)
        orthogonal(self.weight_hr_l0)
        self.bias_ih_l0.detach()[self.hidden : 2 * self.hidden] = forget_bias

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of r and c."""
        return {"r": (self.out,), "c": (self.hidden,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ProjectedLSTMState
    ) -> tuple[Float[Tensor, "batch out"], ProjectedLSTMState]:
        """Map one input."""
        r, c = projected(
            x,
            state.r,
            state.c,
            w=self.weight_ih_l0,
            u=self.weight_hh_l0,
            bias=self.bias_ih_l0,
            recurrent_bias=self.bias_hh_l0,
            projection=self.weight_hr_l0,
        )
        return r, ProjectedLSTMState(r, c)

    @classmethod
    def example(cls) -> "ProjectedLSTM":
        """Return a small instance."""
        return cls(dim=4, hidden=5, projection=3)


def projected(
    x: Float[Tensor, "batch dim"],
    r: Float[Tensor, "batch projection"],
    c: Float[Tensor, "batch hidden"],
    *,
    w: Float[Tensor, "gates_hidden dim"],
    u: Float[Tensor, "gates_hidden projection"],
    bias: Float[Tensor, " gates_hidden"] | None = None,
    recurrent_bias: Float[Tensor, " gates_hidden"] | None = None,
    projection: Float[Tensor, "projection hidden"],
) -> tuple[Float[Tensor, "batch projection"], Float[Tensor, "batch hidden"]]:
    """Return the next r and c: the equations, of gates in the order i, f, g, o."""
    sums = linear(x, w, bias) + linear(r, u, recurrent_bias)
    i, f, g, o = sums.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return linear(o.sigmoid() * c.tanh(), projection), c
