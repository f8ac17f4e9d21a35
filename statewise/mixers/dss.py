r"""DSS: each feature is read from complex exponentials that all features share.

Gupta, Gu and Berant, "Diagonal State Spaces are as Effective as Structured State Spaces", 2022,
arXiv:2203.14343, proposition 1 and section 3.

    a = -exp(log_rate) + i frequency                        complex, shared by all features
    decay = exp(step[0] Re(a) + i step[1] Im(a))            two steps of each feature
    h_t = decay * h_{t-1} + gain * x_t                      no pairs of conjugates
    s_t = Re(sum W * h_t) + skip x_t
    y_t = W_out gelu(s_t) + b

DSS-exp: gain = (decay - 1) / a. DSS-softmax: gain = (decay - 1) / (a (decay^reach - 1)), which
makes the kernel of `reach` inputs a softmax over time of each exponential.

Family   linear diagonal
Forms    convolution; scan; step
State    h, (batch, dim, state) complex: dim * state numbers, complex
Cost     O(time dim (log time + dim) + sqrt(time) dim state) work in `forward`;
         O(dim (state + dim)) in `step`
Differs  In DSS-softmax the real part of a stays negative, as in DSS-exp, and `reach` is fixed,
         where the paper takes the length of what is read: a growing exponential has no recurrence,
         and a kernel that depends on the length is not causal.
See also s4d.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Complex
from torch import Tensor, nn

from statewise.mixers.parts.hippo import diagonal_legs
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.rates import log_uniform
from statewise.mixers.parts.state_space import StateSpace, as_complex


class DSSState(NamedTuple):
    """What DSS remembers."""

    h: Complex[Tensor, "batch dim state"]


class DSS(StateSpace[DSSState]):
    """Diagonal state space without pairs.

    Args:
        dim: features read and answered.
        state: complex numbers remembered of each feature.
        reach: for DSS-softmax, the number of inputs over which exponentials are normalized, such
            as the length trained on; DSS-exp if absent.
        steps: the least and the largest step of time; features begin with any between.
    """

    remembers = DSSState

    def __init__(
        self,
        dim: int,
        *,
        state: int = 64,
        reach: int | None = None,
        steps: tuple[float, float] = (0.001, 0.1),
    ):
        if state < 1 or (reach is not None and reach < 1):
            raise ValueError(f"dss: state = {state} and reach = {reach} should be at least 1")
        super().__init__(dim, state, steps)
        self.reach = reach
        self.log_step = nn.Parameter(log_uniform(*steps, dim, 1).log().repeat(1, 2))
        a = diagonal_legs(2 * state).to(torch.complex64)
        self.log_rate = nn.Parameter((-a.real).log())
        self.frequency = nn.Parameter(a.imag.clone())
        self.W = nn.Parameter(torch.randn(dim, state, 2))
        self.output = nn.Sequential(nn.GELU(), Linear(dim, dim))

    def system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return decay, write and read."""
        rate, frequency = -self.log_rate.to(dtype).exp(), self.frequency.to(dtype)
        step = self.log_step.to(dtype).exp()
        exponent = torch.complex(step[:, :1] * rate, step[:, 1:] * frequency)
        gain = torch.expm1(exponent) / torch.complex(rate, frequency)
        if self.reach is not None:
            gain = gain / torch.expm1(self.reach * exponent)
        return torch.exp(exponent), gain, as_complex(self.W, dtype)

    @classmethod
    def example(cls) -> "DSS":
        """Return a small instance."""
        return cls(dim=4, state=4)
