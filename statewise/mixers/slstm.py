r"""sLSTM: an LSTM whose gates may be exponential, so that an input can overrule what is remembered.

Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024, arXiv:2405.04517, section 2.2 and
appendix A.2.

    i_t = exp(W_i x_t + R_i h_{t-1} + b_i)         input gate; R has a block for each head
    f_t = sigmoid(W_f x_t + R_f h_{t-1} + b_f)     forget gate
    z_t = tanh(W_z x_t + R_z h_{t-1} + b_z)        candidate
    o_t = sigmoid(W_o x_t + R_o h_{t-1} + b_o)     output gate
    c_t = f_t * c_{t-1} + i_t * z_t
    n_t = f_t * n_{t-1} + i_t
    h_t = o_t * c_t / n_t
    y_t = h_t

c and n are kept divided by exp(m_t), m_t = max(log f_t + m_{t-1}, log i_t), which cancels in h.

R starts at zero, W normal with variance 2 / (5 dim), and b_f, along the width of each head, falls
from 5 to -7 as 5 - 12 s ** (0.3 + 1.3 layer / (layers - 1)), s from 0 to 1: slow units beside fast
ones, and more of the slow ones in higher layers.

Family   gated cell
Forms    loop; step
State    h, c, n and m, (batch, hidden) each
Cost     O(time hidden (dim + hidden / heads)) work, time steps one after another;
         O(hidden (dim + hidden / heads)) in `step`
Differs  Of the two forget gates that the paper allows, the sigmoid, as in the authors' program.
See also slstm_block.py, lstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops import cells


class SLSTMState(NamedTuple):
    """What an sLSTM remembers: what it showed, its cells, their normalizer, and its logarithm."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]
    n: Float[Tensor, "batch hidden"]
    m: Float[Tensor, "batch hidden"]


class SLSTM(Recurrent[SLSTMState]):
    """Scalar memory of xLSTM: the cell alone.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        heads: parts of them whose gates read one another; more mix less.
        layer: its place in the stack, from 0, which says how the forget gates start.
        layers: in the stack.
    """

    remembers = SLSTMState

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        heads: int = 4,
        layer: int = 0,
        layers: int = 1,
    ):
        super().__init__()
        hidden = dim if hidden is None else hidden
        divided("slstm", heads, hidden=hidden)
        self.dim, self.out = dim, hidden
        width = hidden // heads
        self.weight = nn.Parameter(torch.randn(4 * hidden, dim) * (2 / (5 * dim)) ** 0.5)
        self.recurrent = nn.Parameter(torch.zeros(heads, 4 * width, width))
        self.bias = nn.Parameter(gate_bias("slstm", hidden, heads, layer, layers))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the four leaves."""
        return dict.fromkeys(SLSTMState._fields, (self.out,))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: SLSTMState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], SLSTMState]:
        """Map inputs."""
        weights = cells.Weights(self.weight, self.recurrent, self.bias)
        y, after = run(cells.recur, cells.SLSTM, x, weights, initial=tuple(state))
        return y, SLSTMState(*after)

    @classmethod
    def example(cls) -> "SLSTM":
        """Return a small instance."""
        return cls(dim=4, heads=2)


def gate_bias(
    mixer: str, hidden: int, heads: int, layer: int, layers: int
) -> Float[Tensor, " gates_hidden"]:
    """Return how the biases of i, f, z and o start: all at zero but those of f.

    Raises:
        ValueError: names the mixer, if the stack has no such layer.
    """
    if not 0 <= layer < layers:
        raise ValueError(f"{mixer}: layer = {layer} should be from 0 and below layers = {layers}")
    along = torch.linspace(0, 1, hidden // heads) ** (0.3 + 1.3 * layer / max(layers - 1, 1))
    zeros = torch.zeros(hidden)
    return torch.cat([zeros, (5 - 12 * along).repeat(heads), zeros, zeros])
