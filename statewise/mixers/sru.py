r"""SRU: a gated diagonal recurrence with peepholes, and a highway around it.

Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", 2017, arXiv:1709.02755,
sections 3 and 3.2.

    f_t = sigmoid(W_f x_t + v_f * c_{t-1} + b_f)
    r_t = sigmoid(W_r x_t + v_r * c_{t-1} + b_r)
    c_t = f_t * c_{t-1} + (1 - f_t) * (W x_t)
    y_t = r_t * c_t + (1 - r_t) * scale * x_t

scale = sqrt(1 + 2 exp(highway_bias)) keeps the variance through depth, where highway_bias is what
b_r starts from. Weights start uniform within sqrt(3 / dim), those of gates and peepholes smaller by
sqrt(2). Where hidden is not dim, W_x x_t, scaled at the start, stands for scale * x_t.

Family   linear diagonal
Forms    loop; scan without peepholes; step
State    c, (batch, hidden)
Cost     O(time dim hidden) work in `forward`, of O(time) depth with peepholes; O(dim hidden) in
         `step`
Differs  Layer normalization and dropout are left to the stack.
See also qrnn.py, min_gru.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.ops.cells import Cell, Weights, recur
from statewise.ops.linear import linear
from statewise.ops.scan import scan


class SRUState(NamedTuple):
    """What a simple recurrent unit remembers."""

    c: Float[Tensor, "batch hidden"]


class SRU(Recurrent[SRUState]):
    """Simple recurrent unit.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        peepholes: whether the gates read the state. Without, the recurrence is a scan, as in the
            first version of the paper.
        highway_bias: what the highway gate's bias starts from; negative in deep stacks.
    """

    remembers = SRUState

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        peepholes: bool = True,
        highway_bias: float = 0.0,
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.scale = (1 + 2 * torch.tensor(highway_bias).exp().item()) ** 0.5
        bound = (3 / dim) ** 0.5
        self.recurrent = nn.Parameter(torch.empty(2 * self.hidden, dim).uniform_(-bound, bound))
        self.highway = nn.Parameter(torch.empty(self.hidden, dim).uniform_(-bound, bound))
        self.highway_bias = nn.Parameter(torch.full((self.hidden,), highway_bias))
        self.forget_bias = nn.Parameter(torch.zeros(self.hidden))
        with torch.no_grad():
            self.recurrent[: self.hidden] *= 0.5**0.5
            self.highway *= 0.5**0.5
        self.peepholes = self.around = None
        if peepholes:
            self.peepholes = nn.Parameter(
                torch.empty(2, self.hidden).uniform_(-(1.5**0.5), 1.5**0.5)
            )
        if self.hidden != dim:
            self.around = Linear(dim, self.hidden, bias=False)
            nn.init.uniform_(self.around.weight, -bound * self.scale, bound * self.scale)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of c."""
        return {"c": (self.hidden,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: SRUState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], SRUState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        r = linear(x, self.highway, self.highway_bias).to(wide)
        if self.peepholes is None:
            f, w = linear(x, self.recurrent).to(wide).chunk(2, -1)
            f = f + self.forget_bias
            c, last = run(scan, f.sigmoid(), (-f).sigmoid() * w, initial=state.c)
        else:
            bias = torch.cat([self.forget_bias, torch.zeros_like(self.forget_bias)])
            weights = Weights(self.recurrent, self.peepholes[0], bias)
            c, (last,) = run(recur, _CELL, x.to(wide), weights, initial=(state.c,))
            r = r + self.peepholes[1] * shifted(c, state.c, run)[0]
        around = self.scale * x if self.around is None else self.around(x)
        return (r.sigmoid() * c + (-r).sigmoid() * around).to(x.dtype), SRUState(last)

    @classmethod
    def example(cls) -> "SRU":
        """Return a small instance."""
        return cls(dim=4)


def _update(projected: Tensor, state: tuple[Tensor, ...], weights: Weights) -> tuple[Tensor, ...]:
    (c,), (f, w) = state, projected.chunk(2, -1)
    f = f + weights.recurrent * c
    return (f.sigmoid() * c + (-f).sigmoid() * w,)


_CELL = Cell("sru", 2, 1, _update, operands=0)
