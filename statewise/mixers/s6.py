r"""S6: a selective state-space layer, whose step size, input and read-out depend on the input.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
arXiv:2312.00752, section 3.2; initialization from section 3.6.

    d_t, B_t, C_t = W x_t                                           rank, state, state features
    s_t = softplus(step_weight d_t + step_bias)                     of each channel
    h_t[c, n] = exp(s_t[c] A[c, n]) h_{t-1}[c, n] + s_t[c] B_t[n] x_t[c]
    y_t[c] = sum_n C_t[n] h_t[c, n] + skip[c] x_t[c]

A = -exp(log_rate) starts at -1, -2, ..., -state in each channel; softplus(step_bias) starts between
0.001 and 0.1, uniform in its logarithm; skip starts at one.

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim, state), dim * state numbers
Cost     O(time dim (state + rank)) work in `forward`; O(dim (state + rank)) in `step`
Differs  B is discretized by Euler's rule, as in the authors' program, where equation (4) has the
         zero-order hold.
See also mamba.py, longhorn.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.rates import inverse_softplus, log_uniform
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.linear import linear
from statewise.ops.rms_norm import rms_norm
from statewise.ops.selective_scan import selective_scan


class S6State(NamedTuple):
    """What a selective state-space layer remembers."""

    h: Float[Tensor, "batch dim state"]


class S6(Recurrent[S6State]):
    """Selective state-space layer.

    Args:
        dim: features read and answered.
        state: numbers remembered of each feature.
        rank: features between the two maps to the step size; a sixteenth of `dim` if absent.
        epsilon: if there is one, d, B and C are each divided by their root mean square, to whose
            square it is added (Falcon Mamba, Zuo et al., 2024, arXiv:2410.05355).
    """

    remembers = S6State

    def __init__(
        self,
        dim: int,
        *,
        state: int = 16,
        rank: int | None = None,
        epsilon: float | None = None,
    ):
        super().__init__()
        self.epsilon = epsilon
        if state < 1:
            raise ValueError(f"s6: state = {state} should be at least 1")
        self.dim = self.out = dim
        self.state = state
        self.rank = -(-dim // 16) if rank is None else rank
        self.select = Linear(dim, self.rank + 2 * state, bias=False)
        bound = self.rank**-0.5
        self.step_weight = nn.Parameter(torch.empty(dim, self.rank).uniform_(-bound, bound))
        self.step_bias = nn.Parameter(inverse_softplus(log_uniform(1e-3, 0.1, dim)))
        self.log_rate = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(dim, 1))
        self.skip = nn.Parameter(torch.ones(dim))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.dim, self.state)}

    def mix(
        self,
        x: Float[Tensor, "batch *time dim"],
        state: S6State,
        run: Run,
        gate: Float[Tensor, "batch *time dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch *time dim"], S6State]:
        """Map inputs; the answer is multiplied by silu(gate) where there is one."""
        selected = self.select(x).split([self.rank, self.state, self.state], -1)
        if self.epsilon is not None:
            selected = [rms_norm(part, None, self.epsilon) for part in selected]
        d, B, C = selected
        y, h = run(
            selective_scan,
            x,
            linear(d, self.step_weight),
            -self.log_rate.to(state_dtype(x.dtype)).exp(),
            B,
            C,
            skip=self.skip,
            gate=gate,
            step_bias=self.step_bias,
            initial=state.h,
        )
        return y, S6State(h)

    @classmethod
    def example(cls) -> "S6":
        """Return a small instance."""
        return cls(dim=4, state=3)
