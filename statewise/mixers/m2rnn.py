r"""M2RNN: a nonlinear recurrence whose state is a matrix, written by keys and read by queries.

"M2RNN: Non-Linear RNNs with Matrix-Valued States for Scalable Language Modeling", 2026,
arXiv:2603.14360.

    q_t, k_t, v_t = silu(convolution(W_u x_t))       v of each head; q and k are shared by all
    f_t = exp(-A softplus(W_f x_t + b_f))            one number a head
    Z_t = tanh(S_{t-1} W + k_t v_t^T)                W of each head
    S_t = f_t S_{t-1} + (1 - f_t) Z_t
    o_t = S_t^T q_t + D * v_t
    y_t = W_out norm(silu(W_g x_t) * o_t)            heads side by side

The norm divides by the root mean square of all heads' features. At the start W is the identity, D
is 1, A uniform in (0, 16), softplus(b_f) log-uniform in (0.001, 0.1), and the other matrices are
normal with deviation 0.02. A row of S never reads another row.

Family   matrix state
Forms    program; step
State    S, (batch, heads, key, value), heads * key * value numbers; past, (batch, width - 1,
         2 key + heads value): the last inputs of the convolution
Cost     O(time (dim heads value + heads key value^2)) work, time steps one after another; as much
         for one in `step`
Differs  The gradient by S is not clamped to (-1, 1) at each step of the backward pass, as the
         published code does. How W_out is scaled with the depth of a stack is left to the model.
See also mamba2.py, mlstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.parts.clock import Clock
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.matrix_rows import MatrixRows, matrix_rows
from statewise.mixers.parts.norms import HeadNorm
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState


class M2RNNState(NamedTuple):
    """What an M2RNN remembers."""

    S: Float[Tensor, "batch heads key value"]
    past: Float[Tensor, "batch past features"]


class M2RNN(Recurrent[M2RNNState]):
    """Recurrent network from matrix to matrix.

    Args:
        dim: features read and answered.
        heads: matrices of the state.
        key: rows of each.
        value: columns of each.
        width: how many inputs the convolution reads, the present one included.
    """

    remembers = M2RNNState

    def __init__(self, dim: int, *, heads: int = 8, key: int = 64, value: int = 16, width: int = 4):
        super().__init__()
        if min(heads, key, value) < 1:
            raise ValueError(
                f"m2rnn: heads = {heads}, key = {key} and value = {value} should be at least 1"
            )
        self.dim = self.out = dim
        self.key, self.inner = key, heads * value
        self.input = Linear(dim, 2 * key + self.inner, bias=False)
        self.convolution = ShortConvolution(2 * key + self.inner, width=width)
        # A rate of zero would have no logarithm.
        self.clock = Clock(heads, Linear(dim, heads, bias=False), least=1e-4, most=16.0)
        self.rows = MatrixRows(heads, value)
        self.D = nn.Parameter(torch.ones(heads, value))
        self.gate = Linear(dim, self.inner, bias=False)
        self.norm = HeadNorm(1, self.inner)
        self.output = Linear(self.inner, dim, bias=False)
        for layer in (self.input, self.clock.project, self.gate, self.output):
            nn.init.normal_(layer.get_parameter("weight"), std=0.02)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and of the convolution's past."""
        heads, value = self.D.shape
        return {"S": (heads, self.key, value), **self.convolution.shapes()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: M2RNNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], M2RNNState]:
        """Map inputs."""
        u, (past,) = self.convolution.mix(self.input(x), ShortConvolutionState(state.past), run)
        q, k, v = silu(u).split((self.key, self.key, self.inner), -1)
        v = v.unflatten(-1, self.D.shape)
        o, S = run(matrix_rows, self.rows, q, k, v, self.clock(x).exp(), initial=state.S)
        shown = silu(self.gate(x)) * (o + self.D * v).flatten(-2).to(x.dtype)
        y = self.output(self.norm(shown[..., None, :])[..., 0, :])
        return y, M2RNNState(S, past)

    @classmethod
    def example(cls) -> "M2RNN":
        """Return a small instance."""
        return cls(dim=5, heads=2, key=3, value=4)
