r"""HGRN2: a gated recurrence whose key is what the gate forgets, with a matrix for a hidden vector.

Qin et al., "HGRN2: Gated Linear RNNs with State Expansion", 2024, arXiv:2404.07904, section 3.

    f_t = bound + (1 - bound) sigmoid(W_f x_t)       forget gate, of each head and key feature
    q_t, v_t = silu(W_q x_t), W_v x_t                of each head
    S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T
    o_t = S_t^T q_t
    y_t = W_out norm(o_t)                            heads side by side

bound is `lower_bound`, the greater the higher the layer: about layer / layers, which is how the
paper's learned bounds start. The norm divides all heads together by their root mean square.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, value), dim * key numbers
Cost     O(time dim (dim + key)) work in `forward`; O(dim (dim + key)) in `step`
Differs  The bound is given to each layer, not learned: the paper's is a cumulative softmax over
         layers, for each feature, whose parameters would be the model's.
See also gla.py, lightnet.py
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import RMSNorm
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.linear_attention import linear_attention


class HGRN2State(NamedTuple):
    """What HGRN2 remembers."""

    S: Float[Tensor, "batch heads key value"]


class HGRN2(Recurrent[HGRN2State]):
    """Hierarchically gated recurrent network, the second.

    Args:
        dim: features read and answered.
        key: features of each head's keys and values, which parts `dim` into heads; `dim` if fewer.
        lower_bound: what the forget gate is never below, from 0 to less than 1.
    """

    remembers = HGRN2State

    def __init__(self, dim: int, *, key: int = 128, lower_bound: float = 0.0):
        super().__init__()
        if not 0 <= lower_bound < 1:
            raise ValueError(f"hgrn2: lower_bound = {lower_bound} should be from 0 to less than 1")
        if key < 1 or dim % min(key, dim):
            raise ValueError(f"hgrn2: key = {key} should divide dim = {dim}")
        self.dim = self.out = dim
        self.key, self.lower_bound = min(key, dim), lower_bound
        self.heads = dim // self.key
        self.query_forget_value = Projections(dim, self.heads, dim, dim, dim)
        self.norm = RMSNorm(dim, eps=1e-5)
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of S."""
        return {"S": (self.heads, self.key, self.key)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: HGRN2State, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], HGRN2State]:
        """Map inputs."""
        query, forget, value = self.query_forget_value(x)
        forget, bound = forget.to(state_dtype(x.dtype)), self.lower_bound
        log_decay = logsigmoid(forget)
        if bound:
            log_decay = torch.logaddexp(
                torch.full_like(forget, math.log(bound)), math.log1p(-bound) + log_decay
            )
        o, S = run(
            linear_attention,
            silu(query),
            (1 - bound) * torch.sigmoid(-forget),
            value,
            log_decay=log_decay,
            initial=state.S,
        )
        return self.output(self.norm(o.flatten(-2))), HGRN2State(S)

    @classmethod
    def example(cls) -> "HGRN2":
        """Return a small instance."""
        return cls(dim=8, key=4, lower_bound=0.25)
