r"""Longhorn: a Mamba block whose state learns each input online, by a step in closed form.

Liu et al., "Longhorn: State Space Models are Amortized Online Learners", 2024, arXiv:2407.14207,
section 3 and algorithm 1.

    u_t, z_t = W_in x_t                                  inner features each
    v_t = silu(short_convolution(u)_t)
    r_t, k_t, q_t = W v_t                                rank, state, state features
    b_t = sigmoid(W_b r_t + bias)                        of each channel: how much it learns
    d_t = b_t / (1 + b_t |k_t|^2)
    S_t[c, n] = (1 - d_t[c] k_t[n]^2) S_{t-1}[c, n] + d_t[c] v_t[c] k_t[n]
    o_t[c] = sum_n q_t[n] S_t[c, n] + skip[c] v_t[c]
    y_t = W_out [o_t * silu(z_t)]

Family   linear diagonal
Forms    scan; step
State    past, (batch, width - 1, inner): the last u; S, (batch, inner, state)
         inner (width - 1 + state) numbers
Cost     O(time inner (dim + state)) work in `forward`, and as much memory; O(inner (dim + state))
         in `step`
Differs  No norm and no residual: they are the stack's.
See also mamba.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState
from statewise.ops.scan import scan


class LonghornState(NamedTuple):
    """What a Longhorn block remembers."""

    past: Float[Tensor, "batch past inner"]
    S: Float[Tensor, "batch inner state"]


class Longhorn(Recurrent[LonghornState]):
    """Longhorn block.

    Args:
        dim: features read and answered.
        expansion: inner features for each feature.
        state: numbers remembered of each inner feature.
        width: how many inputs the convolution reads.
        rank: features between the two maps to the rate of learning; a sixteenth of `dim` if absent.
    """

    remembers = LonghornState

    def __init__(
        self,
        dim: int,
        *,
        expansion: float = 2.0,
        state: int = 16,
        width: int = 4,
        rank: int | None = None,
    ):
        super().__init__()
        if state < 1:
            raise ValueError(f"longhorn: state = {state} should be at least 1")
        self.dim = self.out = dim
        self.inner, self.state = int(expansion * dim), state
        self.rank = -(-dim // 16) if rank is None else rank
        self.input = nn.Linear(dim, 2 * self.inner, bias=False)
        self.convolution = ShortConvolution(self.inner, width=width)
        self.select = nn.Linear(self.inner, self.rank + 2 * state, bias=False)
        self.learning = nn.Linear(self.rank, self.inner)
        self.skip = nn.Parameter(torch.ones(self.inner))
        self.output = nn.Linear(self.inner, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution's inputs and of S."""
        return {**self.convolution.shapes(), "S": (self.inner, self.state)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: LonghornState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], LonghornState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        u, gate = self.input(x).chunk(2, -1)
        u, (past,) = self.convolution.mix(u, ShortConvolutionState(state.past), run)
        v = silu(u)
        low, k, q = self.select(v).split([self.rank, self.state, self.state], -1)
        k, b = k.to(wide), self.learning(low).to(wide).sigmoid()
        d = b / (1 + b * k.square().sum(-1, keepdim=True))
        decay = 1 - d[..., None] * k[..., None, :].square()
        drive = (d * v)[..., None] * k[..., None, :]
        S, last = run(scan, decay.flatten(-2), drive.flatten(-2), initial=state.S.flatten(1))
        sizes = (self.inner, self.state)
        read = (S.unflatten(-1, sizes) @ q.to(wide)[..., None])[..., 0] + self.skip * v
        y = self.output(read.to(x.dtype) * silu(gate))
        return y, LonghornState(past, last.unflatten(-1, sizes))

    @classmethod
    def example(cls) -> "Longhorn":
        """Return a small instance."""
        return cls(dim=4, state=3)
