r"""S5: one bank of damped oscillators hears all features and is read by all of them.

Smith, Warrington and Linderman, "Simplified State Space Layers for Sequence Modeling", 2022,
arXiv:2208.04933, sections 3 and 4.

    a = rate + i frequency                               complex, of each oscillator
    decay = exp(step * a)                                step of each oscillator
    h_t = decay * h_{t-1} + (decay - 1) / a * B x_t      zero-order hold; B complex
    s_t = gelu(2 Re(C h_t) + skip * x_t)                 one of each pair of conjugates is kept
    y_t = s_t * sigmoid(W s_t + b)

At first a is the spectrum of `blocks` copies of HiPPO-LegS's normal part, B and C random matrices
in their bases.

Family   linear diagonal
Forms    scan; step
State    h, (batch, state / 2) complex: state / 2 numbers, complex
Cost     O(time dim (state + dim)) work in `forward`; O(dim (state + dim)) in `step`
Differs  Rates are kept below `-1e-4`, an option of the published code: beyond zero h explodes.
See also lru.py, s4d.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.hippo import hold_diagonal, normal_form
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.rates import log_uniform
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.scan import scan


class S5State(NamedTuple):
    """What S5 remembers."""

    h: Complex[Tensor, "batch half"]


class S5(Recurrent[S5State]):
    """Simplified state space.

    Args:
        dim: features read and answered.
        state: numbers remembered, conjugates counted; `dim` if absent.
        blocks: copies of HiPPO's spectrum at first; each has an even part of the state.
        steps: the least and the largest step of time; oscillators begin with any between.
    """

    remembers = S5State
    complex_leaves = ("h",)

    def __init__(
        self,
        dim: int,
        *,
        state: int | None = None,
        blocks: int = 1,
        steps: tuple[float, float] = (0.001, 0.1),
    ):
        super().__init__()
        self.dim = self.out = dim
        self.state = dim if state is None else state
        if blocks < 1 or self.state < 1 or self.state % (2 * blocks):
            raise ValueError(
                f"s5: blocks = {blocks} should divide state = {self.state} into even parts"
            )
        form = normal_form(self.state // blocks)
        a = form.eigenvalues.repeat(blocks).to(torch.complex64)
        self.rate, self.frequency = nn.Parameter(a.real.clone()), nn.Parameter(a.imag.clone())
        self.log_step = nn.Parameter(log_uniform(*steps, self.state // 2).log())
        self.enter = Linear(dim, self.state, bias=False)
        self.read = Linear(self.state, dim, bias=False)
        V = torch.block_diag(*[form.V] * blocks).to(torch.complex64)
        # Real matrices of variance 1 / state, seen in the oscillators' basis. The layers hold real
        # above imaginary parts; Re(C h) = Re(C) Re(h) - Im(C) Im(h).
        B = V.mH @ (torch.randn(self.state, dim) * self.state**-0.5).to(V.dtype)
        C = torch.view_as_complex(torch.randn(dim, self.state, 2) * self.state**-0.5) @ V
        self.enter.weight = nn.Parameter(torch.cat([B.real, B.imag]))
        self.read.weight = nn.Parameter(torch.cat([C.real, -C.imag], 1))
        self.skip = nn.Parameter(torch.randn(dim))
        self.gate = Linear(dim, dim)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.state // 2,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: S5State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], S5State]:
        """Map inputs with one scan."""
        wide = state_dtype(x.dtype)
        a = torch.complex(self.rate.to(wide).clamp(max=-1e-4), self.frequency.to(wide))
        decay, gain = hold_diagonal(a, self.log_step.to(wide).exp())
        drive = gain * torch.complex(*self.enter(x).to(wide).chunk(2, -1))
        h, last = run(scan, decay, drive, initial=state.h)
        s = 2 * self.read(torch.cat([h.real, h.imag], -1).to(x.dtype)) + self.skip * x
        s = gelu(s)
        return s * self.gate(s).sigmoid(), S5State(last)

    @classmethod
    def example(cls) -> "S5":
        """Return a small instance."""
        return cls(dim=4, state=8, blocks=2)
