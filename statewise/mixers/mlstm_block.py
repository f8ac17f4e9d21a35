r"""mLSTM block: a matrix memory with exponential gates between a widening and a narrowing map.

Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024, arXiv:2405.04517, sections 2.3 and 2.4,
and appendix, figure "mLSTM Block".

    u_t, g_t = W_up x_t                                   (inner) each
    w_t = silu(short_convolution(u)_t)
    q_t, k_t, v_t = W_q w_t, W_k w_t, W_v u_t             blocks of 4 features
    i_t = exp(W_i [q_t, k_t, v_t] + b_i)                  of each head
    f_t = sigmoid(W_f [q_t, k_t, v_t] + b_f)
    C_t = f_t C_{t-1} + i_t k_t v_t^T
    n_t = f_t n_{t-1} + i_t k_t
    h_t = C_t^T q_t / max(|n_t . q_t|, sqrt(key))         the root scales q in both
    y_t = W_down [(norm(h_t) + skip * w_t) * silu(g_t)]   each head standardized, then scaled

C and n are kept divided by exp(m_t), m_t = max(log f_t + m_{t-1}, log i_t), which cancels in h. W_i
and W_f start at zero, b_f rises over the heads from 3 to 6, b_i is normal with deviation 0.1.

Family   matrix state
Forms    chunkwise; step
State    past, (batch, width - 1, inner); C, (batch, heads, key, key); n, (batch, heads, key); m,
         (batch, heads); inner * (width + key) + heads numbers with key = inner / heads
Cost     O(time inner (dim + key)) work in `forward`; O(inner (dim + key)) in `step`
Differs  inner is not rounded up to a multiple of 64. W_down starts normal with deviation
         2 / (depth sqrt(dim)), where depth = 1 unless it is given. No eps in the divisor.
See also slstm_block.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, silu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.block_linear import BlockLinear
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState
from statewise.ops.stabilized_attention import stabilized_linear_attention


class MLSTMBlockState(NamedTuple):
    """What the block remembers: the convolution's last inputs, and what the mLSTM does."""

    past: Float[Tensor, "batch past inner"]
    C: Float[Tensor, "batch heads key value"]
    n: Float[Tensor, "batch heads key"]
    m: Float[Tensor, "batch heads"]


class MLSTMBlock(Recurrent[MLSTMBlockState]):
    """xLSTM's mLSTM block: the whole of its one residual branch.

    Args:
        dim: features read and answered.
        heads: parts of the inner features that remember apart.
        expansion: inner features, in multiples of `dim`.
        width: how many inputs the convolution reads.
        size: of the blocks of W_q, W_k and W_v.
        depth: of the stack, by which W_down starts smaller.
    """

    remembers = MLSTMBlockState

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        expansion: float = 2,
        width: int = 4,
        size: int = 4,
        depth: int = 1,
    ):
        super().__init__()
        self.dim = self.out = dim
        self.heads, inner = heads, round(expansion * dim)
        divided("mlstm_block", heads, inner=inner)
        if size < 1 or inner % size:
            raise ValueError(f"mlstm_block: size = {size} should divide the {inner} inner features")
        self.inner, spread = inner, (2 / (5 * dim)) ** 0.5
        self.up = Linear(dim, 2 * inner, bias=False)
        nn.init.normal_(self.up.weight, std=spread)
        self.convolution = ShortConvolution(inner, width=width)
        self.query = BlockLinear(inner, size, deviation=spread)
        self.key = BlockLinear(inner, size, deviation=spread)
        self.value = BlockLinear(inner, size, deviation=spread)
        self.gates = Linear(3 * inner, 2 * heads)
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            bias = [0.1 * torch.randn(heads), torch.linspace(3, 6, heads)]
            self.gates.bias.copy_(torch.cat(bias))
        self.norm = HeadNorm(heads, inner // heads, center=True)
        self.skip = nn.Parameter(torch.ones(inner))
        self.down = Linear(inner, dim, bias=False)
        nn.init.normal_(self.down.weight, std=2 / (depth * dim**0.5))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution and of the memory."""
        heads, key = self.heads, self.inner // self.heads
        memory = {"C": (heads, key, key), "n": (heads, key), "m": (heads,)}
        return {**self.convolution.shapes(), **memory}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: MLSTMBlockState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], MLSTMBlockState]:
        """Map inputs."""
        u, g = self.up(x).chunk(2, -1)
        w, (past,) = self.convolution.mix(u, ShortConvolutionState(state.past), run)
        w = silu(w)
        qkv = self.query(w), self.key(w), self.value(u)
        gates = self.gates(torch.cat(qkv, -1)).to(state_dtype(x.dtype))
        log_input, forget = gates.chunk(2, -1)
        h, memory = run(
            stabilized_linear_attention,
            *(part.unflatten(-1, (self.heads, -1)) for part in qkv),
            log_input=log_input,
            log_forget=logsigmoid(forget),
            initial=tuple(state[1:]),
        )
        read = self.norm(h).flatten(-2) + self.skip * w
        return self.down(read * silu(g)), MLSTMBlockState(past, *memory)

    @classmethod
    def example(cls) -> "MLSTMBlock":
        """Return a small instance."""
        return cls(dim=4, heads=2)
