r"""GLA: linear attention whose state forgets by a gate for each key feature.

Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2023,
arXiv:2312.06635, section 4.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t                   of each head
    a_t = sigmoid(W_2 W_1 x_t + b) ** (1 / temperature)         of each key feature
    S_t = diag(a_t) S_{t-1} + k_t v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [silu(W_g x_t) * norm(o_t)]                     heads side by side

The norm divides each head by its root mean square. W_1 is 16 features narrow.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, value), dim * dim / (2 heads) numbers
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
See also linear_attention.py, hgrn2.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import GatedOutput, Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.linear_attention import linear_attention


class GLAState(NamedTuple):
    """What gated linear attention remembers."""

    S: Float[Tensor, "batch heads key value"]


class GLA(Recurrent[GLAState]):
    """Gated linear attention.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together; half of `dim` if absent.
        rank: features between the two maps to the gate.
        temperature: what the logarithm of the gate is divided by; more forgets less.
    """

    remembers = GLAState

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key: int | None = None,
        rank: int = 16,
        temperature: float = 16,
    ):
        super().__init__()
        self.dim = self.out = dim
        self.heads, self.temperature = heads, temperature
        self.key = dim // 2 if key is None else key
        divided("gla", heads, dim=dim, key=self.key)
        self.query_key_value = Projections(dim, heads, self.key, self.key, dim)
        to_decay = Linear(rank, self.key)
        nn.init.zeros_(to_decay.bias)
        self.decay = nn.Sequential(Linear(dim, rank, bias=False), to_decay)
        self.output = GatedOutput(dim, HeadNorm(heads, dim // heads, shared=True), dim)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of S."""
        return {"S": (self.heads, self.key // self.heads, self.dim // self.heads)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: GLAState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], GLAState]:
        """Map inputs."""
        query, key, value = self.query_key_value(x)
        forget = self.decay(x).to(state_dtype(x.dtype)).unflatten(-1, (self.heads, -1))
        o, S = run(
            linear_attention,
            query,
            key,
            value,
            log_decay=logsigmoid(forget) / self.temperature,
            scale=query.shape[-1] ** -0.5,
            initial=state.S,
        )
        return self.output(o, x), GLAState(S)

    @classmethod
    def example(cls) -> "GLA":
        """Return a small instance."""
        return cls(dim=12, heads=2)
