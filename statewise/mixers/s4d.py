r"""S4D: each feature drives damped oscillators of its own, whose sum is its convolution.

Gu, Goel, Gupta and Re, "On the Parameterization and Initialization of Diagonal State Space Models",
2022, arXiv:2206.11893, sections 3 and 4; the layer around it is that of S4.

    a = -exp(log_rate) + i frequency                     complex, of each oscillator
    decay = exp(step a)                                  step of each feature
    h_t = decay * h_{t-1} + (decay - 1) / a * B * x_t    zero-order hold
    s_t = 2 Re(sum C * h_t) + skip x_t                   one of each pair of conjugates is kept
    y_t = glu(W gelu(s_t) + b)

Family   linear diagonal
Forms    convolution; scan; step
State    h, (batch, dim, state / 2) complex: dim * state / 2 numbers, complex
Cost     O(time dim (log time + dim) + sqrt(time) dim state) work in `forward`;
         O(dim (state + dim)) in `step`
See also s4.py, dss.py, s5.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from statewise.mixers.parts.hippo import DIAGONALS, hold_diagonal, normal_form
from statewise.mixers.parts.state_space import (
    StateSpace,
    as_complex,
    complex_normal,
    gated,
    positive_even,
)


class S4DState(NamedTuple):
    """What S4D remembers."""

    h: Complex[Tensor, "batch dim half"]


class S4D(StateSpace[S4DState]):
    """Diagonal state space.

    Args:
        dim: features read and answered.
        state: numbers remembered of each feature, conjugates counted; even.
        start: which frequencies the oscillators have at first: those of HiPPO ("legs"), equally
            spaced ("lin") or as its inverse law ("inv").
        steps: the least and the largest step of time; features begin with any between.
    """

    remembers = S4DState

    def __init__(
        self,
        dim: int,
        *,
        state: int = 64,
        start: str = "legs",
        steps: tuple[float, float] = (0.001, 0.1),
    ):
        positive_even("s4d", state)
        if start not in DIAGONALS:
            raise ValueError(f"s4d: start = {start!r} should be one of {', '.join(DIAGONALS)}")
        super().__init__(dim, state // 2, steps)
        a = DIAGONALS[start](state).to(torch.complex64)
        self.log_rate = nn.Parameter((-a.real).log().repeat(dim, 1))
        self.frequency = nn.Parameter(a.imag.repeat(dim, 1))
        B = normal_form(state).B.to(a.dtype) if start == "legs" else torch.ones_like(a)
        self.B = nn.Parameter(torch.view_as_real(B).repeat(dim, 1, 1))
        self.C = nn.Parameter(complex_normal(dim, state // 2))
        self.output = gated(dim)

    def system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return decay, write and read."""
        a = torch.complex(-self.log_rate.to(dtype).exp(), self.frequency.to(dtype))
        decay, gain = hold_diagonal(a, self.log_step.to(dtype).exp()[:, None])
        return decay, gain * as_complex(self.B, dtype), 2 * as_complex(self.C, dtype)

    @classmethod
    def example(cls) -> "S4D":
        """Return a small instance."""
        return cls(dim=4, state=8)
