r"""Simple GLA: linear attention whose state forgets by one gate a head, after a short convolution.

Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2023,
arXiv:2312.06635, section 4, with one gate for all key features of a head, which the authors'
library calls simple GLA.

    u_t = convolution(W_u x)_t
    q_t, k_t, v_t = silu(u_t)                                of each head
    a_t = sigmoid(w_a . x_t + b_a) ** (1 / temperature)      one a head
    S_t = a_t S_{t-1} + k_t v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [silu(W_g x_t) * norm(o_t)]                  heads side by side

The norm divides each head by its root mean square.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, key, value), dim * dim / heads numbers; past, (batch, width - 1, 3 dim):
         the last inputs of the convolution
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
See also gla.py, retention.py, mamba2.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.heads import GatedOutput, Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState
from statewise.ops.linear_attention import linear_attention


class SimpleGLAState(NamedTuple):
    """What simple gated linear attention remembers."""

    S: Float[Tensor, "batch heads key value"]
    past: Float[Tensor, "batch past features"]


class SimpleGLA(Recurrent[SimpleGLAState]):
    """Gated linear attention with a gate for each head.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        temperature: what the logarithm of the gate is divided by; more forgets less.
        width: how many inputs the convolution reads, the present one included.
    """

    remembers = SimpleGLAState

    def __init__(self, dim: int, *, heads: int = 4, temperature: float = 16, width: int = 4):
        super().__init__()
        self.dim = self.out = dim
        self.heads, self.temperature = heads, temperature
        divided("simple_gla", heads, dim=dim)
        self.query_key_value = Projections(dim, heads, dim, dim, dim)
        self.convolution = ShortConvolution(3 * dim, width=width, bias=False)
        self.decay = Linear(dim, heads)
        nn.init.zeros_(self.decay.bias)
        self.output = GatedOutput(dim, HeadNorm(heads, dim // heads, shared=True), dim)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and of the convolution's past."""
        width = self.dim // self.heads
        return {"S": (self.heads, width, width), **self.convolution.shapes()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: SimpleGLAState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], SimpleGLAState]:
        """Map inputs."""
        past = ShortConvolutionState(state.past)
        u, (past,) = self.convolution.mix(self.query_key_value.map(x), past, run)
        query, key, value = self.query_key_value.parted(silu(u))
        o, S = run(
            linear_attention,
            query,
            key,
            value,
            log_decay=logsigmoid(self.decay(x).to(state_dtype(x.dtype))) / self.temperature,
            scale=query.shape[-1] ** -0.5,
            initial=state.S,
        )
        return self.output(o, x), SimpleGLAState(S, past)

    @classmethod
    def example(cls) -> "SimpleGLA":
        """Return a small instance."""
        return cls(dim=8, heads=2)
