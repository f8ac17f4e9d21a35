r"""Mamba-2: a selective state space with one decay a head, which is linear attention with a mask.

Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured
State Space Duality", 2024, arXiv:2405.21060, sections 6 and 7.

    z_t, u_t, dt'_t = W_in x_t
    v_t, B_t, C_t = silu(convolution(u)_t)           v of each head; B and C of a group of heads
    dt_t = softplus(dt'_t + dt_bias)                 of each head
    S_t = exp(dt_t A) S_{t-1} + B_t (dt_t v_t)^T     A = -exp(A_log)
    o_t = S_t^T C_t + D v_t
    y_t = W_out norm(silu(z_t) * o_t)                heads side by side

The norm divides each group's features by their root mean square. At first A is uniform in (-16,
-1), softplus(dt_bias) log-uniform in (0.001, 0.1), and D is 1.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, state, value), expand * dim * state numbers; past, (batch, width - 1,
         expand * dim + 2 groups * state): the last inputs of the convolution
Cost     O(time expand dim (dim + state)) work in `forward`; O(expand dim (dim + state)) in `step`
See also simple_gla.py, retention.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.rates import inverse_softplus, log_uniform
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState
from statewise.ops.linear_attention import linear_attention


class Mamba2State(NamedTuple):
    """What Mamba-2 remembers."""

    S: Float[Tensor, "batch heads state value"]
    past: Float[Tensor, "batch past features"]


class Mamba2(Recurrent[Mamba2State]):
    """The mixer of Mamba-2, which needs no channel mixer beside it.

    Args:
        dim: features read and answered.
        state: numbers that each feature is remembered by.
        head: features of each head; all in one head if they are fewer.
        groups: how many B and C there are, shared by equally many heads.
        expand: features remembered for each that is read.
        width: how many inputs the convolution reads, the present one included.
        epsilon: what the norm adds to the mean square.
    """

    remembers = Mamba2State

    def __init__(
        self,
        dim: int,
        *,
        state: int = 128,
        head: int = 64,
        groups: int = 1,
        expand: int = 2,
        width: int = 4,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.dim = self.out = dim
        self.state, self.groups = state, groups
        self.inner = expand * dim
        self.head = min(head, self.inner)
        if head < 1 or self.inner % self.head:
            raise ValueError(
                f"mamba2: head = {self.head} should divide the {self.inner} features remembered"
            )
        self.heads = self.inner // self.head
        if groups < 1 or self.heads % groups:
            raise ValueError(f"mamba2: groups = {groups} should divide the {self.heads} heads")
        shared = groups * state
        self.sizes = (self.inner, self.inner + 2 * shared, self.heads)
        self.input = Linear(dim, sum(self.sizes), bias=False)
        self.convolution = ShortConvolution(self.inner + 2 * shared, width=width)
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.dt_bias = nn.Parameter(inverse_softplus(log_uniform(1e-3, 0.1, self.heads)))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = HeadNorm(groups, self.inner // groups, eps=epsilon)
        self.output = Linear(self.inner, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and of the convolution's past."""
        return {"S": (self.heads, self.state, self.head), **self.convolution.shapes()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Mamba2State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], Mamba2State]:
        """Map inputs."""
        z, u, dt = self.input(x).split(self.sizes, -1)
        u, (past,) = self.convolution.mix(u, ShortConvolutionState(state.past), run)
        shared = self.groups * self.state
        v, B, C = silu(u).split((self.inner, shared, shared), -1)
        v = v.unflatten(-1, (self.heads, -1))
        wide = state_dtype(x.dtype)
        dt = softplus(dt.to(wide) + self.dt_bias.to(wide))
        o, S = run(
            linear_attention,
            C.unflatten(-1, (self.groups, -1)),
            B.unflatten(-1, (self.groups, -1)),
            dt[..., None] * v,
            log_decay=-dt * self.A_log.to(wide).exp(),
            initial=state.S,
        )
        gated = silu(z) * (o + self.D[:, None] * v).flatten(-2).to(x.dtype)
        normed = self.norm(gated.unflatten(-1, (self.groups, -1))).flatten(-2)
        return self.output(normed), Mamba2State(S, past)

    @classmethod
    def example(cls) -> "Mamba2":
        """Return a small instance."""
        return cls(dim=6, state=4, head=3, groups=2)
