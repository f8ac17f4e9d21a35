r"""Quasi-LSTM: an LSTM whose gates read the input alone, so that its cells are one linear scan.

Stanic et al., "The Languini Kitchen: Enabling Language Modelling Research at Different Scales of
Compute", 2023, arXiv:2309.11197, section 4.

    f_t = sigmoid(W_f x_t + b_f + 1)                       forget gate
    i_t, o_t = sigmoid(W_i x_t + b_i), sigmoid(W_o x_t + b_o)
    z_t = tanh(W_z x_t + b_z)
    c_t = f_t * c_{t-1} + i_t * z_t
    y_t = W_out [o_t * tanh(c_t)] + b_out                  heads side by side

All of W start normal with a deviation of 0.02, and biases at zero.

Family   linear diagonal
Forms    scan; step
State    c, (batch, heads head_dim)
Cost     O(time dim heads head_dim) work in `forward`; O(dim heads head_dim) in `step`
Differs  The residual, the norm before and the feed-forward layer after it are the stack's. Heads
         say how wide it is and nothing else: cells are on their own.
See also qrnn.py, min_lstm.py, lstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.scan import scan


class QuasiLSTMState(NamedTuple):
    """What a quasi-LSTM remembers."""

    c: Float[Tensor, "batch cells"]


class QuasiLSTM(Recurrent[QuasiLSTMState]):
    """Quasi-LSTM layer with heads.

    Args:
        dim: features read and answered.
        heads: groups of cells.
        head_dim: cells of each; `dim / heads`, rounded up, if absent.
    """

    remembers = QuasiLSTMState

    def __init__(self, dim: int, *, heads: int = 8, head_dim: int | None = None):
        super().__init__()
        self.dim = self.out = dim
        self.width = heads * (-(-dim // max(heads, 1)) if head_dim is None else head_dim)
        if heads < 1 or self.width < 1:
            raise ValueError(f"quasi_lstm: {heads} heads of {head_dim} cells are none")
        self.gates = Linear(dim, 4 * self.width)
        self.output = Linear(self.width, dim)
        for layer in (self.gates, self.output):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of c."""
        return {"c": (self.width,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: QuasiLSTMState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], QuasiLSTMState]:
        """Map inputs."""
        f, i, z, o = self.gates(x).to(state_dtype(x.dtype)).chunk(4, -1)
        c, last = run(scan, (f + 1).sigmoid(), i.sigmoid() * z.tanh(), initial=state.c)
        return self.output((o.sigmoid() * c.tanh()).to(x.dtype)), QuasiLSTMState(last)

    @classmethod
    def example(cls) -> "QuasiLSTM":
        """Return a small instance."""
        return cls(dim=4, heads=2, head_dim=3)
