r"""Fixed-point RNN: a dense linear recurrence, found as the fixed point of a diagonal one.

Movahedi et al., "Fixed-Point RNNs: Interpolating from Diagonal to Dense", 2025, arXiv:2503.10799.

    u_t, z_t = W_in x_t                                            inner features each
    l_t = sigmoid(W_l u_t + b_l)                                   how much is kept
    v_t = silu(W_v u_t + b_v) * u_t
    P_t = contraction / rank * sum_j sigmoid(s_t[j]) p_t[j] p_t[j]^T       s_t, p_t = W_p u_t + b_p
    h_t = l_t * h_{t-1} + (1 - l_t) * (v_t - P_t (v_t - h_t))      h_t on both sides
    y_t = W_out norm(silu(z_t) * silu(W_c [u_t, h_{t-1}] + b_c) * h_t)

With Q_t = I - P_t that is  (I - (I - L_t) P_t) h_t = L_t h_{t-1} + (I - L_t) Q_t v_t,  L_t the
diagonal of l_t: channels mix. `forward` iterates scans over all times at once, `step` the same at
one time, from h = 0, until nothing moves. Each p_t[j] is divided by the root of the product of its
largest and summed absolute values. So no row of P_t sums to more than `contraction`, and each
iteration multiplies the largest error, over any length, by no more.

With `reads_state` W_p and W_v read [u_t, h_{t-1}], as in the paper the mixing and FP-Mamba's input
do: the recurrence is nonlinear. A time then settles once that before it has, by `contraction` at
each iteration, but not before.

The gradient goes through all iterations, which is exact; with `recorded` through as many more at
the end, as in the paper with one: an approximation.

Family   linear diagonal
Forms    iterated scan; iterated step
State    h, (batch, inner)
Cost     O(time inner (dim + rank inner + iterations rank)) work in `forward`, the same without time
         in `step`; iterations = log(tolerance) / log(contraction) at most, with `reads_state`
         that times time
Differs  P_t is bounded by its rows, which bounds the iterations over any length; the paper bounds
         its spectrum, and stops at a tolerance of 0.1. Its FP-Mamba, whose states are matrices, is
         not here.
See also implicit.py, block_diagonal.py
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.fixed_point import Solver
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import RMSNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.ops.scan import scan


class FixedPointState(NamedTuple):
    """What a fixed-point RNN remembers."""

    h: Float[Tensor, "batch inner"]


class FixedPoint(Recurrent[FixedPointState]):
    """Fixed-point RNN.

    Args:
        dim: features read and answered.
        expansion: inner features for each feature.
        rank: terms of the mixing of channels.
        contraction: how much mixing there may be, in (0, 1); more takes more iterations.
        tolerance: where the iteration stops, relative; ten times the precision if absent.
        iterations: how many at most; what the contraction needs if absent.
        recorded: iterations that the gradient sees; all if absent, and then it is exact.
        reads_state: whether the mixing of channels, and what is added, depend on the state before.
    """

    remembers = FixedPointState

    def __init__(
        self,
        dim: int,
        *,
        expansion: float = 2.0,
        rank: int = 1,
        contraction: float = 0.75,
        tolerance: float | None = None,
        iterations: int | None = None,
        recorded: int | None = None,
        reads_state: bool = False,
    ):
        super().__init__()
        if not 0 < contraction < 1:
            raise ValueError(f"fixed_point: contraction = {contraction} should be in (0, 1)")
        if rank < 1:
            raise ValueError(f"fixed_point: rank = {rank} should be at least 1")
        self.dim = self.out = dim
        self.inner = inner = int(expansion * dim)
        self.rank = rank
        self.solver = Solver(contraction, tolerance, iterations, recorded)
        self.input = Linear(dim, 2 * inner, bias=False)
        self.gates = Linear(inner, 2 * inner)
        self.mixing = Linear(inner, rank * (inner + 1))
        # What the state before adds to b, p and s.
        self.shift = Linear(inner, inner + rank * (inner + 1), bias=False) if reads_state else None
        self.read = Linear(2 * inner, inner)
        self.norm = RMSNorm(inner, eps=1e-5)
        self.output = Linear(inner, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.inner,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: FixedPointState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], FixedPointState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        u, z = self.input(x).chunk(2, -1)
        gate, b = self.gates(u).to(wide).chunk(2, -1)
        keep, take = gate.sigmoid(), (-gate).sigmoid()
        told = torch.cat([b, self.mixing(u).to(wide)], -1)

        def terms(told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            b, p, s = told.split([self.inner, self.rank * self.inner, self.rank], -1)
            p = p.unflatten(-1, (self.rank, self.inner))
            p = p * (p.abs().amax(-1, keepdim=True) * p.abs().sum(-1, keepdim=True) + 1e-24).rsqrt()
            return silu(b) * u, p, s.sigmoid() * (self.solver.contraction / self.rank)

        def before(h: Tensor) -> Tensor:
            return shifted(h, state.h, run)[0].to(u.dtype)

        shift, always = self.shift, terms(told)

        def iterate(h: Tensor) -> tuple[Tensor, Tensor]:
            v, p, share = always if shift is None else terms(told + shift(before(h)).to(wide))
            along = share * (p * (v - h)[..., None, :]).sum(-1)
            mixed = v - (along[..., None] * p).sum(-2)
            return run(scan, keep, take * mixed, initial=state.h)

        # What reads the state settles, at each time, once that before it has.
        times = 1 if shift is None else math.prod(x.shape[1:-1])
        h, last = self.solver(iterate, torch.zeros_like(b), times=times)
        read = silu(self.read(torch.cat([u, before(h)], -1))) * h
        return self.output(self.norm((silu(z) * read).to(x.dtype))), FixedPointState(last)

    @classmethod
    def example(cls) -> "FixedPoint":
        """Return a small instance."""
        return cls(dim=4, expansion=1.0, contraction=0.25)
