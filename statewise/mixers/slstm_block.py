r"""sLSTM block: an sLSTM whose input and forget gates read the last few inputs, and a norm.

Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024, arXiv:2405.04517, section 2.4 and
appendix, figure "sLSTM Block"; the first of its two residual branches.

    u_t = silu(short_convolution(x)_t)
    i_t = exp(W_i u_t + R_i h_{t-1} + b_i)         W and R have a block for each head
    f_t = sigmoid(W_f u_t + R_f h_{t-1} + b_f)
    z_t = tanh(W_z x_t + R_z h_{t-1} + b_z)
    o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)
    c_t = f_t * c_{t-1} + i_t * z_t
    n_t = f_t * n_{t-1} + i_t
    h_t = o_t * c_t / n_t
    y_t = norm(h_t)                                each head standardized, then scaled

The second branch of the block is gated_feed_forward.py with a GELU and expansion 4 / 3 (post
up-projection). c and n are kept within range, and biases start, as in slstm.py.

Family   gated cell
Forms    loop; step
State    past, (batch, width - 1, dim); h, c, n and m, (batch, dim) each
Cost     O(time dim^2) work, time steps one after another; O(dim^2) in `step`
Differs  The products W u and W x are computed as dense ones; their zeros are no parameters.
See also slstm.py, mlstm_block.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState
from statewise.mixers.slstm import gate_bias
from statewise.ops import cells


class SLSTMBlockState(NamedTuple):
    """What the block remembers: the convolution's last inputs, and what the sLSTM does."""

    past: Float[Tensor, "batch past dim"]
    h: Float[Tensor, "batch dim"]
    c: Float[Tensor, "batch dim"]
    n: Float[Tensor, "batch dim"]
    m: Float[Tensor, "batch dim"]


class SLSTMBlock(Recurrent[SLSTMBlockState]):
    """The recurrent branch of xLSTM's sLSTM block.

    Args:
        dim: features read, remembered and answered.
        heads: parts of the features that do not read one another.
        width: how many inputs the convolution reads.
        layer: its place in the stack, from 0, which says how the forget gates start.
        layers: in the stack.
    """

    remembers = SLSTMBlockState

    def __init__(
        self, dim: int, *, heads: int = 4, width: int = 4, layer: int = 0, layers: int = 1
    ):
        super().__init__()
        divided("slstm_block", heads, dim=dim)
        self.dim = self.out = dim
        size = dim // heads
        self.convolution = ShortConvolution(dim, width=width)
        self.weight = nn.Parameter(torch.randn(4, heads, size, size) * (2 / (5 * dim)) ** 0.5)
        self.recurrent = nn.Parameter(torch.zeros(heads, 4 * size, size))
        self.bias = nn.Parameter(gate_bias("slstm_block", dim, heads, layer, layers))
        self.norm = HeadNorm(heads, size, center=True)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution and of the cell."""
        return {**self.convolution.shapes(), **dict.fromkeys("hcnm", (self.dim,))}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: SLSTMBlockState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], SLSTMBlockState]:
        """Map inputs."""
        before = ShortConvolutionState(state.past)
        u, (past,) = self.convolution.mix(x, before, run)
        weights = cells.Weights(self._dense(), self.recurrent, self.bias)
        both = torch.cat([silu(u), x], -1)
        h, after = run(cells.recur, cells.SLSTM, both, weights, initial=tuple(state[1:]))
        y = self.norm(h.unflatten(-1, (len(self.recurrent), -1))).flatten(-2)
        return y, SLSTMBlockState(past, *after)

    def _dense(self) -> Float[Tensor, "gates_dim two_dim"]:
        """Return W as the cell reads it: i and f the first half of its input, z and o the rest."""
        i, f, z, o = (torch.block_diag(*blocks) for blocks in self.weight)
        return torch.block_diag(torch.cat([i, f]), torch.cat([z, o]))

    @classmethod
    def example(cls) -> "SLSTMBlock":
        """Return a small instance."""
        return cls(dim=4, heads=2)
