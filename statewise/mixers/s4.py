r"""S4: each feature is remembered by HiPPO, a normal matrix less one of rank one, and convolved.

Gu, Goel and Re, "Efficiently Modeling Long Sequences with Structured State Spaces", 2021,
arXiv:2111.00396, sections 3.2 to 3.4 and appendix C.

    A = diag(a) - P P^*                                 a = -exp(log_rate) + i frequency
    h_t = A' h_{t-1} + B' x_t                           bilinear rule, by `step` of each feature
    s_t = 2 Re(C h_t) + skip * x_t                      one of each pair of conjugates is kept
    y_t = glu(W gelu(s_t) + b)

    K(z) = sum_{l < time} C A'^l B' z^l                 on a circle of roots z, from Cauchy sums
         = 2 (k_CB - k_CP (1 + z) k_PB / (1 + (1 + z) k_PP))
    k_uv = sum_n step u_n v_n / (2 (1 - z) - (1 + z) step a_n),  over conjugates too

There C stands for C (1 - A'^time z^time), and the P on the left is P^*.

Family   linear diagonal
Forms    convolution; scan; step
State    h, (batch, dim, state), real above imaginary parts, dim * state numbers
Cost     O(time dim (log time + state + dim) + dim state^3 log time) work in `forward`;
         O(dim (state^2 + dim)) in `step`
Differs  C itself is a parameter, not C (1 - A'^time), which would tie the weights to one length.
         The circle is inside the unit one: on it 1 - A'^time loses all digits where steps are
         short, and a root at -1 has no finite bilinear image. Q = P, as in the published code.
See also s4d.py, lssl.py
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.hippo import normal_form
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.state_space import (
    StateSpace,
    as_complex,
    complex_normal,
    gated,
    positive_even,
)
from statewise.ops.convolution import dense_convolution


class S4State(NamedTuple):
    """What S4 remembers."""

    h: Float[Tensor, "batch dim state"]


class S4(StateSpace[S4State]):
    """Structured state space.

    Args:
        dim: features read and answered.
        state: numbers remembered of each feature; even.
        steps: the least and the largest step of time; features begin with any between.
    """

    remembers = S4State
    complex_leaves = ()

    def __init__(self, dim: int, *, state: int = 64, steps: tuple[float, float] = (0.001, 0.1)):
        positive_even("s4", state)
        super().__init__(dim, state, steps)
        a, P, B, _ = (part.to(torch.complex64) for part in normal_form(state))
        self.log_rate = nn.Parameter((-a.real).log().repeat(dim, 1))
        self.frequency = nn.Parameter(a.imag.repeat(dim, 1))
        self.P = nn.Parameter(torch.view_as_real(P).repeat(dim, 1, 1))
        self.B = nn.Parameter(torch.view_as_real(B).repeat(dim, 1, 1))
        self.C = nn.Parameter(complex_normal(dim, state // 2))
        self.output = gated(dim)

    def system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return transition, write and read of the real numbers kept.

        They are 2 R - 1 and step R B, where R is the inverse of 1 - step A / 2, by Woodbury's
        identity.
        """
        a, P, B, C, step = self._parts(dtype)
        D = 1 / (1 - step * a / 2)
        column = torch.cat([(D * P).real, (D * P).imag], -1)
        row = _reads(P.conj() * D) / (2 / step + 2 * (P.conj() * D * P).real.sum(-1, keepdim=True))
        real, imaginary = D.real.diag_embed(), D.imag.diag_embed()
        R = torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)
        R = R - column[..., None] * row[..., None, :]
        write = (R @ torch.cat([B.real, B.imag], -1)[..., None])[..., 0]
        eye = torch.eye(self.state, dtype=dtype, device=step.device)
        return 2 * R - eye, step * write, _reads(C)

    def kernel(
        self, transition: Float[Tensor, "dim n n"], read: Float[Tensor, "dim n"], time: int
    ) -> Float[Tensor, "dim {time}"]:
        """Return  read . transition^l write  for every l below `time`, by Cauchy sums."""
        a, P, B, _, step = (part[..., None] for part in self._parts(transition.dtype))
        # Half way to zero over the whole length: errors of rounding grow to no more than twice.
        radius = 0.5 ** (1 / time)
        late = read[:, None]
        for bit in range(time.bit_length()):
            late = late @ transition if time >> bit & 1 else late
            transition = transition @ transition
        real, imaginary = (read - late[:, 0] / 2).chunk(2, -1)
        C = torch.complex(real, -imaginary)[..., None] / 2

        number = torch.arange(time, dtype=read.dtype, device=a.device)
        angle = number[: time // 2 + 1] * (-2 * torch.pi / time)
        z = radius * torch.polar(torch.ones_like(angle), angle)
        uv = torch.cat([C * B, C * P, P.conj() * B, P.conj() * P], -1).mT
        sums = uv @ (1 / (2 * (1 - z) - (1 + z) * step * a))
        sums = sums + uv.conj() @ (1 / (2 * (1 - z) - (1 + z) * step * a.conj()))
        k_CB, k_CP, k_PB, k_PP = (step * sums).unbind(1)
        transform = 2 * (k_CB - (1 + z) * k_CP * k_PB / (1 + (1 + z) * k_PP))
        return torch.fft.irfft(transform, time) / radius**number

    def _parts(self, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return a, P, B, C and, as a column, the steps."""
        a = torch.complex(-self.log_rate.to(dtype).exp(), self.frequency.to(dtype))
        parts = (as_complex(parameter, dtype) for parameter in (self.P, self.B, self.C))
        return a, *parts, self.log_step.to(dtype).exp()[:, None]

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], S4State]:
        """Map inputs."""
        transition, write, read = self.system(state_dtype(x.dtype))
        kernel = ()
        if x.ndim == 3 and x.shape[1]:
            kernel = (self.kernel(transition, read, x.shape[1]),)
        y, h = run(dense_convolution, x, transition, write, read, *kernel, initial=state.h)
        return self.output(y + self.skip * x), S4State(h)

    @classmethod
    def example(cls) -> "S4":
        """Return a small instance."""
        return cls(dim=4, state=6)


def _reads(v: Tensor) -> Tensor:
    """Return the real row of  2 Re(v . h),  for h as real above imaginary parts."""
    return 2 * torch.cat([v.real, -v.imag], -1)
