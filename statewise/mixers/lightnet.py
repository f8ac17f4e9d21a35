r"""LightNet: linear attention that forgets by addition, a softmax over time for each key feature.

Qin et al., "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet", 2024,
arXiv:2405.21022, section 4.

    q_t, k_t, v_t = silu(W_q x_t), W_k x_t, W_v x_t          of each head
    z_t = log(exp(z_{t-1}) + exp(k_t))                       of each key feature
    S_t = diag(exp(z_{t-1} - z_t)) S_{t-1} + exp(k_t - z_t) v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [silu(W_2 W_1 x_t) * norm(o_t)]              heads side by side

So each row of S is a mean of all values so far, weighted by exp(k). The norm divides all heads
together by their root mean square. W_1 is as narrow as a head.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, value), dim * key numbers; z, (batch, heads, key), the logarithm of
         the sum of the weights, -inf at the start
Cost     O(time dim (dim + key)) work in `forward`; O(dim (dim + key)) in `step`
Differs  One axis of time, along which it is causal. Over several, where sums have no order, the
         paper needs a single scan too; that, and its encodings of positions, are left out.
See also abc.py, hgrn2.py, aaren.py
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.averages import averaging
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import RMSNorm
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.linear_attention import linear_attention


class LightNetState(NamedTuple):
    """What LightNet remembers."""

    S: Float[Tensor, "batch heads key value"]
    z: Float[Tensor, "batch heads key"]


class LightNet(Recurrent[LightNetState]):
    """Additive linear attention.

    Args:
        dim: features read and answered.
        key: features of each head's keys and values, which parts `dim` into heads; `dim` if fewer.
    """

    remembers = LightNetState
    starts: ClassVar[Mapping[str, float]] = {"z": -math.inf}

    def __init__(self, dim: int, *, key: int = 128):
        super().__init__()
        if key < 1 or dim % min(key, dim):
            raise ValueError(f"lightnet: key = {key} should divide dim = {dim}")
        self.dim = self.out = dim
        self.key = min(key, dim)
        self.heads = dim // self.key
        self.query_key_value = Projections(dim, self.heads, dim, dim, dim)
        self.gate = nn.Sequential(
            Linear(dim, self.key, bias=False), Linear(self.key, dim, bias=False)
        )
        self.norm = RMSNorm(dim, eps=1e-5)
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and z."""
        return {"S": (self.heads, self.key, self.key), "z": (self.heads, self.key)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: LightNetState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], LightNetState]:
        """Map inputs."""
        query, score, value = self.query_key_value(x)
        weight, log_decay, z = averaging(score.to(state_dtype(x.dtype)), state.z, run)
        o, S = run(
            linear_attention,
            silu(query),
            weight,
            value,
            log_decay=log_decay,
            scale=self.key**-0.5,
            initial=state.S,
        )
        y = silu(self.gate(x)) * self.norm(o.flatten(-2))
        return self.output(y), LightNetState(S, z)

    @classmethod
    def example(cls) -> "LightNet":
        """Return a small instance."""
        return cls(dim=8, key=4)
