r"""Implicit RNN: a gated linear recurrence whose gates read its own converged answer.

Schöne et al., "Implicit Language Models are RNNs: Balancing Parallelization and Expressivity",
2025, arXiv:2502.07827, section 3.

    a_t = sigmoid(W_a x_t + V_a [h_t, h_{t-1}] + b_a)
    c_t = tanh(W_c x_t + V_c [h_t, h_{t-1}] + b_c)
    h_t = a_t * h_{t-1} + (1 - a_t) * c_t                  h_t on both sides
    y_t = h_t

The gates depend on the state, so that its transition is nonlinear. `forward` iterates scans over
all times at once, `step` the same at one time, from h = 0, until nothing moves. For each feature
the summed absolute values of its row of V_c, and twice those of V_a, are at most `contraction`:
larger rows are divided. An iteration multiplies the largest error, over any length, by no more,
since |h - c| < 2; for the same reason each state forgets what came before it.

Where it does not have to (`forgets`), what reads h_t alone is bounded, and what reads h_{t-1} is
not: a time settles once that before it has, by `contraction` at each iteration, but not before.

The gradient goes through all iterations, which is exact; with `recorded` through as many more at
the end, as in the paper with four: an approximation.

Family   linear diagonal
Forms    iterated scan; iterated step
State    h, (batch, hidden)
Cost     O(time hidden (dim + iterations hidden)) work in `forward`, the same without time in
         `step`; iterations = log(tolerance) / log(contraction) at most, without `forgets` that
         times time
Differs  One diagonal layer is iterated, where the paper iterates a stack of Mamba-2; its answer is
         the state itself. The paper bounds nothing, and stops at a tolerance of 0.05 or 32
         iterations, converged or not. Its dropout and curriculum are left to training.
See also fixed_point.py, min_gru.py
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.fixed_point import Solver
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, shifted
from statewise.ops.linear import linear
from statewise.ops.scan import scan


class ImplicitState(NamedTuple):
    """What an implicit recurrence remembers."""

    h: Float[Tensor, "batch hidden"]


class Implicit(Recurrent[ImplicitState]):
    """Implicit gated recurrence.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        contraction: how strongly gates may read the state, in (0, 1); more takes more iterations.
        tolerance: where the iteration stops, relative; ten times the precision if absent.
        iterations: how many at most; what the contraction needs if absent.
        recorded: iterations that the gradient sees; all if absent, and then it is exact.
        forgets: whether what gates read of the state before is bounded too.
    """

    remembers = ImplicitState

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        contraction: float = 0.9,
        tolerance: float | None = None,
        iterations: int | None = None,
        recorded: int | None = None,
        forgets: bool = True,
    ):
        super().__init__()
        if not 0 < contraction < 1:
            raise ValueError(f"implicit: contraction = {contraction} should be in (0, 1)")
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.solver = Solver(contraction, tolerance, iterations, recorded)
        self.forgets = forgets
        self.injection = Linear(dim, 2 * self.hidden)
        self.feedback = Linear(2 * self.hidden, 2 * self.hidden, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}

    def bounded(self, dtype: torch.dtype) -> Float[Tensor, "gates hidden2"]:
        """Return V_a and V_c, one below the other, their rows divided where they are too large."""
        V = self.feedback.weight.to(dtype)
        read = V if self.forgets else V[:, : self.hidden]
        a, c = read.abs().sum(1).chunk(2)
        scale = self.solver.contraction / (2 * a + c).clamp(min=self.solver.contraction)
        read = read * scale.repeat(2)[:, None]
        return read if self.forgets else torch.cat([read, V[:, self.hidden :]], 1)

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: ImplicitState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], ImplicitState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        injected, V = self.injection(x).to(wide), self.bounded(wide)

        def iterate(h: Tensor) -> tuple[Tensor, Tensor]:
            seen = torch.cat([h, shifted(h, state.h, run)[0]], -1)
            a, c = (injected + linear(seen, V)).chunk(2, -1)
            return run(scan, a.sigmoid(), (-a).sigmoid() * c.tanh(), initial=state.h)

        times = 1 if self.forgets else math.prod(x.shape[1:-1])
        h, last = self.solver(iterate, torch.zeros_like(injected[..., : self.hidden]), times=times)
        return h.to(x.dtype), ImplicitState(last)

    @classmethod
    def example(cls) -> "Implicit":
        """Return a small instance."""
        return cls(dim=4, hidden=3, contraction=0.25)
