r"""Damped EMA: each feature runs several moving averages that fade at learned rates.

Ma et al., "Mega: Moving Average Equipped Gated Attention", 2022, arXiv:2209.10655, section 3.1:
what Mega's attention reads its queries and keys from.

    p, d = sigmoid(rate), sigmoid(damping)                  of each average
    h_t = (1 - p * d) * h_{t-1} + p * enter * x_t
    y_t = silu(sum(read * h_t) / sqrt(state) + skip * x_t)

Family   linear diagonal
Forms    convolution; scan; step
State    h, (batch, dim, state), dim * state numbers
Cost     O(time dim log time + sqrt(time) dim state) work in `forward`; O(dim state) in `step`
See also s4d.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.convolution import diagonal_convolution


class DampedEMAState(NamedTuple):
    """What damped moving averages remember."""

    h: Float[Tensor, "batch dim state"]


class DampedEMA(Recurrent[DampedEMAState]):
    """Multi-dimensional damped moving averages.

    Args:
        dim: features read and answered.
        state: averages of each feature.
    """

    remembers = DampedEMAState

    def __init__(self, dim: int, *, state: int = 16):
        super().__init__()
        if state < 1:
            raise ValueError(f"damped_ema: state = {state} should be at least 1")
        self.dim = self.out = dim
        self.state = state
        self.rate = nn.Parameter(0.2 * torch.randn(dim, state))
        self.damping = nn.Parameter(0.2 * torch.randn(dim, state))
        sign = 1.0 - 2.0 * (torch.arange(state) % 2)
        self.enter = nn.Parameter(sign + 0.02 * torch.randn(dim, state))
        self.read = nn.Parameter(torch.randn(dim, state))
        self.skip = nn.Parameter(torch.randn(dim))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.dim, self.state)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: DampedEMAState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], DampedEMAState]:
        """Map inputs with one convolution."""
        wide = state_dtype(x.dtype)
        p, d = self.rate.to(wide).sigmoid(), self.damping.to(wide).sigmoid()
        write, read = p * self.enter.to(wide), self.read.to(wide) * self.state**-0.5
        y, h = run(diagonal_convolution, x, 1 - p * d, write, read, initial=state.h)
        return silu(y + self.skip * x), DampedEMAState(h)

    @classmethod
    def example(cls) -> "DampedEMA":
        """Return a small instance."""
        return cls(dim=4, state=3)
