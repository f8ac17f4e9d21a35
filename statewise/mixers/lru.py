r"""LRU: complex numbers turn and fade, each at its own pace; inputs enter at a scale that fits.

Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", 2023, arXiv:2303.06349,
sections 3.3 and 3.4 and appendix A.

    decay = exp(-exp(log_rate) + i exp(log_phase))      complex
    h_t = decay * h_{t-1} + exp(log_scale) * B x_t      B complex; no pairs of conjugates
    s_t = Re(C h_t) + skip * x_t                        C complex
    y_t = glu(W gelu(s_t) + b)

At first decays are uniform on a ring of the unit disc, and scales sqrt(1 - |decay|^2).

Family   linear diagonal
Forms    scan; step
State    h, (batch, state) complex: state numbers, complex
Cost     O(time dim (state + dim)) work in `forward`; O(dim (state + dim)) in `step`
See also s5.py, rg_lru.py
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.parts.state_space import gated
from statewise.ops.scan import scan


class LRUState(NamedTuple):
    """What the linear recurrent unit remembers."""

    h: Complex[Tensor, "batch state"]


class LRU(Recurrent[LRUState]):
    """Linear recurrent unit.

    Args:
        dim: features read and answered.
        state: complex numbers remembered; `dim` if absent.
        ring: the least and the largest modulus of decays at first; near 1 remembers long.
        phase: the largest angle at first, up to 2 pi; small ones make for slow oscillations.
    """

    remembers = LRUState
    complex_leaves = ("h",)

    def __init__(
        self,
        dim: int,
        *,
        state: int | None = None,
        ring: tuple[float, float] = (0.0, 1.0),
        phase: float = 2 * math.pi,
    ):
        super().__init__()
        if not 0 <= ring[0] < ring[1] <= 1:
            raise ValueError(f"lru: ring = {ring} should ascend between 0 and 1")
        if phase <= 0:
            raise ValueError(f"lru: phase = {phase} should be above 0")
        self.dim = self.out = dim
        self.state = dim if state is None else state
        least, most = (modulus**2 for modulus in ring)
        uniform = torch.rand(2, self.state, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        log_modulus = (least + (most - least) * uniform[0]).log() / 2
        self.log_rate = nn.Parameter((-log_modulus).log().float())
        self.log_phase = nn.Parameter((phase * uniform[1]).log().float())
        self.log_scale = nn.Parameter((-torch.expm1(2 * log_modulus)).log().float() / 2)
        self.enter = Linear(dim, 2 * self.state, bias=False)
        self.read = Linear(2 * self.state, dim, bias=False)
        nn.init.normal_(self.enter.weight, std=(2 * dim) ** -0.5)
        nn.init.normal_(self.read.weight, std=self.state**-0.5)
        self.skip = nn.Parameter(torch.randn(dim))
        self.output = gated(dim)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.state,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: LRUState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], LRUState]:
        """Map inputs with one scan."""
        wide = state_dtype(x.dtype)
        rate, phase = self.log_rate.to(wide).exp(), self.log_phase.to(wide).exp()
        decay = torch.exp(torch.complex(-rate, phase))
        drive = self.log_scale.to(wide).exp() * torch.complex(*self.enter(x).to(wide).chunk(2, -1))
        h, last = run(scan, decay, drive, initial=state.h)
        read = self.read(torch.cat([h.real, h.imag], -1).to(x.dtype))  # Re(C h), C = W_1 - i W_2
        return self.output(read + self.skip * x), LRUState(last)

    @classmethod
    def example(cls) -> "LRU":
        """Return a small instance."""
        return cls(dim=4, state=6)
