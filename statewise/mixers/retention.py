r"""Retention: linear attention that forgets at one fixed rate a head, with turned queries and keys.

Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models", 2023,
arXiv:2307.08621, sections 2.1 to 2.3.

    q_t, k_t = R_p W_q x_t, R_p W_k x_t              of each head; p the position since a reset
    v_t = W_v x_t
    S_t = gamma S_{t-1} + k_t v_t^T                  gamma = 1 - 2^(-5 - h) in head h = 0, 1, ...
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [silu(W_g x_t) * norm(o_t)]          heads side by side

R_p turns each pair of features (j, j + key / 2) by the angle p / 10000^(j / (key / 2 - 1)), which
is what remains of xPos: gamma is in the place of its length scaling. The norm divides each head by
its root mean square. Weights start Xavier-uniform, with gain 2^-2.5, W_out with gain 1/2.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, value), 2 dim * dim / heads numbers; position, (batch,), of the next
         input
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  Pairs lie half a head apart, where the paper's code has neighbours: another order of the
         features of q and k. The norm has a scale of its own, as the paper's GroupNorm but not its
         code; it takes no mean away, as the code. The code's three rescalings are left out, which
         the norm undoes but for its epsilon.
See also gla.py, simple_gla.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import GatedOutput, Projections
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.positions import positions, retention_rates, turned
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.linear_attention import linear_attention


class RetentionState(NamedTuple):
    """What retention remembers."""

    S: Float[Tensor, "batch heads key value"]
    position: Int[Tensor, " batch"]


class Retention(Recurrent[RetentionState]):
    """Multi-scale retention.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart, each at its own rate.
        key: features of all keys together; `dim` if absent. Each head's are an even number.
        value: features of all values together; 2 * `dim` if absent.
    """

    remembers = RetentionState
    counters = ("position",)

    def __init__(
        self, dim: int, *, heads: int = 4, key: int | None = None, value: int | None = None
    ):
        super().__init__()
        self.dim = self.out = dim
        self.heads = heads
        self.key = dim if key is None else key
        self.value = 2 * dim if value is None else value
        divided("retention", heads, key=self.key, value=self.value)
        if self.key // heads % 2:
            raise ValueError(
                f"retention: heads = {heads} should divide key = {self.key} by even parts"
            )
        self.query_key_value = Projections(dim, heads, self.key, self.key, self.value)
        norm = HeadNorm(heads, self.value // heads, eps=1e-6)
        self.output = GatedOutput(dim, norm, self.value)
        for part in self.query_key_value.map.weight.split(self.query_key_value.sizes):
            nn.init.xavier_uniform_(part, gain=2**-2.5)
        nn.init.xavier_uniform_(self.output.gate.weight, gain=2**-2.5)
        nn.init.xavier_uniform_(self.output.output.weight, gain=0.5)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and of the position."""
        width = (self.key // self.heads, self.value // self.heads)
        return {"S": (self.heads, *width), "position": ()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: RetentionState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], RetentionState]:
        """Map inputs."""
        query, key, value = self.query_key_value(x)
        now, position = run(positions, x, initial=state.position)
        rates = retention_rates(query.shape[-1] // 2, x.device)
        head = torch.arange(self.heads, device=x.device, dtype=state_dtype(x.dtype))
        o, S = run(
            linear_attention,
            turned(query, now, rates),
            turned(key, now, rates),
            value,
            log_decay=torch.log1p(-(2.0 ** (-5 - head))).expand(value.shape[:-1]),
            scale=query.shape[-1] ** -0.5,
            initial=state.S,
        )
        return self.output(o, x), RetentionState(S, position)

    @classmethod
    def example(cls) -> "Retention":
        """Return a small instance."""
        return cls(dim=12, heads=2)
