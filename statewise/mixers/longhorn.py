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
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.mamba_block import MambaBlock
from statewise.mixers.parts.recurrent import Run
from statewise.ops.scan import scan


class LonghornState(NamedTuple):
    """What a Longhorn block remembers."""

    past: Float[Tensor, "batch past inner"]
    S: Float[Tensor, "batch inner state"]


class Longhorn(MambaBlock[LonghornState]):
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
        super().__init__("longhorn", dim, expansion, width)
        if state < 1:
            raise ValueError(f"longhorn: state = {state} should be at least 1")
        self.state, self.rank = state, -(-dim // 16) if rank is None else rank
        self.select = Linear(self.inner, self.rank + 2 * state, bias=False)
        self.learning = Linear(self.rank, self.inner)
        self.skip = nn.Parameter(torch.ones(self.inner))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution's inputs and of S."""
        return {**self.convolution.shapes(), "S": (self.inner, self.state)}

    def memory(
        self,
        v: Float[Tensor, "batch *time inner"],
        z: Float[Tensor, "batch *time inner"],
        state: LonghornState,
        run: Run,
    ) -> tuple[Float[Tensor, "batch *time inner"], Tensor]:
        """Return what has been learned, read by q."""
        wide = state_dtype(v.dtype)
        r, k, q = self.select(v).split([self.rank, self.state, self.state], -1)
        k, b = k.to(wide)[..., None, :], self.learning(r).to(wide).sigmoid()[..., None]
        d = b / (1 + b * k.square().sum(-1, keepdim=True))
        decay, drive = 1 - d * k.square(), d * v[..., None] * k
        S, last = run(scan, decay.flatten(-2), drive.flatten(-2), initial=state.S.flatten(1))
        sizes = (self.inner, self.state)
        o = (S.unflatten(-1, sizes) @ q.to(wide)[..., None])[..., 0] + self.skip * v
        return o.to(v.dtype) * silu(z), last.unflatten(-1, sizes)

    @classmethod
    def example(cls) -> "Longhorn":
        """Return a small instance."""
        return cls(dim=4, state=3)
