r"""HGRN: a complex diagonal recurrence whose forget gates have lower bounds that rise with depth.

Qin et al., "Hierarchically Gated Recurrent Neural Network for Sequence Modeling", 2023,
arXiv:2311.04823, section 3.

    f_t = bound + (1 - bound) * sigmoid(W_f x_t + b_f)
    c_t = silu(W_c x_t + b_c)                               complex: a real and an imaginary half
    h_t = f_t exp(i theta) * h_{t-1} + (1 - f_t) * c_t
    y_t = W_out [norm([Re h_t, Im h_t]) * silu(W_g x_t + b_g)] + b_out

theta is learned and starts at 10000 ** (-2 j / dim) for feature j. A stack hands one
`parts.lower_bounds.LowerBounds` to all layers, where the bounds are learned; or each layer a number
of its own, such as layer / layers. The norm is LayerNorm.

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim), complex; real where `complex` is false
Cost     O(time dim^2) work in `forward`; O(dim^2) in `step`
Differs  The real form (theta = 0) is that of the authors' later programs, with this block around.
See also hgrn2.py, min_gru.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.lower_bounds import LowerBounds
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.scan import scan


class HGRNState(NamedTuple):
    """What a hierarchically gated unit remembers."""

    h: Inexact[Tensor, "batch dim"]


class HGRN(Recurrent[HGRNState]):
    """Hierarchically gated recurrent unit.

    Args:
        dim: features read, remembered and answered.
        bound: the least value of every forget gate, in [0, 1); or the learned bounds of a stack.
        layer: which layer of those bounds, counted from 0 at the bottom.
        complex: whether the state turns.
    """

    remembers = HGRNState
    complex_leaves = ("h",)

    def __init__(
        self,
        dim: int,
        *,
        bound: float | LowerBounds = 0.0,
        layer: int = 0,
        complex: bool = True,
    ):
        super().__init__()
        # A number is the bound of this layer, wherever it stands.
        if isinstance(bound, LowerBounds) and not 0 <= layer < len(bound.shares):
            raise ValueError(
                f"hgrn: layer = {layer} should be one of {len(bound.shares)} with a bound"
            )
        if not isinstance(bound, LowerBounds) and not 0 <= bound < 1:
            raise ValueError(f"hgrn: bound = {bound} should be in [0, 1)")
        self.dim = self.out = dim
        self.bound, self.layer = bound, layer
        parts = 2 if complex else 1
        self.forget = Linear(dim, dim)
        self.candidate = Linear(dim, parts * dim)
        self.gate = Linear(dim, parts * dim)
        self.norm = nn.LayerNorm(parts * dim)
        self.output = Linear(parts * dim, dim)
        theta = 10000 ** (-2 * torch.arange(dim) / dim)
        self.theta = nn.Parameter(theta) if complex else None

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.dim,)}

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> HGRNState:
        """Return zeros, complex if the state turns."""
        start = super().initial_state(batch, device=device, dtype=dtype)
        return start if self.theta is not None else HGRNState(start.h.real.clone())

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: HGRNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], HGRNState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        bound = self.bound(self.layer) if isinstance(self.bound, LowerBounds) else self.bound
        f = self.forget(x).to(wide)
        decay, take = bound + (1 - bound) * f.sigmoid(), (1 - bound) * (-f).sigmoid()
        c = silu(self.candidate(x)).to(wide)
        if self.theta is not None:
            decay = torch.polar(decay, self.theta.to(wide).expand_as(decay))
            c = torch.complex(*c.chunk(2, -1))
        h, last = run(scan, decay, take * c, initial=state.h)
        read = torch.cat([h.real, h.imag], -1) if h.is_complex() else h
        return self.output(self.norm(read.to(x.dtype)) * silu(self.gate(x))), HGRNState(last)

    @classmethod
    def example(cls) -> "HGRN":
        """Return a small instance."""
        return cls(dim=4, bound=LowerBounds(3, 4), layer=1)
