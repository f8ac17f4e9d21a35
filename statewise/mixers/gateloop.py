r"""GateLoop: linear attention whose complex state decays and turns as the input says.

Katsch, "GateLoop: Fully Data-Controlled Linear Recurrence for Sequence Modeling", 2023,
arXiv:2311.01927, section 3.

    q_t, k_t, v_t, g_t = W x_t                           heads side by side
    a_t = sigmoid(alpha_t) exp(i beta_t)                 alpha_t, beta_t = W_a x_t + b: of each key
    S_t = diag(a_t) S_{t-1} + k_t v_t^T                  complex
    y_t = W_out [silu(g_t) * Re(S_t^T q_t)]

With as many heads as features, the paper's choice, the state is one complex number per feature.

Family   linear diagonal
Forms    scan; step
State    S, (batch, heads, key, key), complex; dim * dim / heads complex numbers
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  q, k and v are real. The paper trains W_a at a lower rate, which is left to the optimizer.
See also gla.py, retention.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.linear import linear
from statewise.ops.scan import scan


class GateLoopState(NamedTuple):
    """What GateLoop remembers."""

    S: Complex[Tensor, "batch heads key value"]


class GateLoop(Recurrent[GateLoopState]):
    """Linear recurrence that the data control.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart; as many as features if absent.
    """

    remembers = GateLoopState
    complex_leaves = ("S",)

    def __init__(self, dim: int, *, heads: int | None = None):
        super().__init__()
        self.dim = self.out = dim
        self.heads = dim if heads is None else heads
        divided("gateloop", self.heads, dim=dim)
        self.project = Linear(dim, 4 * dim, bias=False)
        self.transition = Linear(dim, 2 * dim)
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of S."""
        return {"S": (self.heads, self.dim // self.heads, self.dim // self.heads)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: GateLoopState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], GateLoopState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        q, k, v, g = self.project(x).to(wide).unflatten(-1, (4, self.heads, -1)).unbind(-3)
        # Wide from the start: phases add up over time, and so would what they were rounded by.
        weight, bias = self.transition.weight.to(wide), self.transition.bias.to(wide)
        transition = linear(x.to(wide), weight, bias)
        alpha, beta = transition.unflatten(-1, (2, self.heads, -1)).unbind(-3)
        drive = k[..., None] * v[..., None, :]
        decay = torch.polar(alpha.sigmoid(), beta)[..., None].expand(drive.shape)
        S, last = run(scan, decay.flatten(-3), drive.flatten(-3), initial=state.S.flatten(1))
        read = (q[..., None, :] @ S.real.unflatten(-1, drive.shape[-3:]))[..., 0, :]
        y = self.output((silu(g) * read).flatten(-2).to(x.dtype))
        return y, GateLoopState(last.unflatten(-1, drive.shape[-3:]))

    @classmethod
    def example(cls) -> "GateLoop":
        """Return a small instance."""
        return cls(dim=8, heads=4)
