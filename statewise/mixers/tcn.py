r"""TCN: causal convolutions whose taps are ever farther apart, two in each residual block.

Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling", 2018, arXiv:1803.01271, section 3.

    z_t = drop(relu(b + sum_{j < width} W_j m_{t - (width - 1 - j) 2^l}))     of block l = 0, 1, ...
    z'_t = drop(relu(b' + sum_{j < width} W'_j z_{t - (width - 1 - j) 2^l}))
    m_t = relu(z'_t + m_t)                     m = x at first; R x + r is added to z' of block 0 if
    y_t = m_t                                  dim and hidden differ

A row of W, all taps of one output, is g v / |v|: weight norm, which learns g and v. A convolution
sees zeros before the start or a reset. While it trains, drop sets the same features to zero at all
times of a call, for each sequence others, and divides the rest by 1 - dropout.

Family   part
Forms    all positions at once; step
State    past, (batch, width - 1, dim): the last inputs of the first convolution; inner, (batch,
         (width - 1) (2^(blocks + 1) - 3), hidden): those of all others, one after another
Cost     O(time width hidden (dim + blocks hidden)) work in `forward`; in `step` as much for one
         time, and the state is copied
Differs  All weights start as torch.nn.Linear's; resets are no other sequence to drop, and each step
         drops anew.
See also tcnca.py, short_convolution.py, qrnn.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.parts.taps import taps
from statewise.ops.linear import linear


class TCNState(NamedTuple):
    """What a temporal convolutional network remembers."""

    past: Float[Tensor, "batch past dim"]
    inner: Float[Tensor, "batch pasts hidden"]


class TCN(Recurrent[TCNState]):
    """Temporal convolutional network.

    Its outputs depend on the last 1 + 2 (width - 1) (2^blocks - 1) inputs.

    Args:
        dim: features read.
        hidden: features of all convolutions, and answered; `dim` if absent.
        blocks: of two convolutions each.
        width: taps of each.
        dropout: the share of features that convolutions lose while training.
    """

    remembers = TCNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        blocks: int = 4,
        width: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        if min(blocks, width) < 1:
            raise ValueError(f"tcn: blocks = {blocks} and width = {width} should be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"tcn: dropout = {dropout} should be from 0 and below 1")
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.width, self.dropout = width, dropout
        self.gaps = [2**block for block in range(blocks) for _ in range(2)]
        reads = [dim, *[self.hidden] * (len(self.gaps) - 1)]
        self.convolutions = nn.ModuleList(WeightNormed(width * read, self.hidden) for read in reads)
        self.around = Linear(dim, self.hidden) if dim != self.hidden else nn.Identity()

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the first convolution's inputs and of all others'."""
        inner = (self.width - 1) * sum(self.gaps[1:])
        return {"past": (self.width - 1, self.dim), "inner": (inner, self.hidden)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: TCNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], TCNState]:
        """Map inputs."""
        inner = state.inner.split([(self.width - 1) * gap for gap in self.gaps[1:]], 1)
        m, z, after = x, x, []
        for number, (gap, past) in enumerate(zip(self.gaps, (state.past, *inner), strict=True)):
            seen, last = run(taps, z, self.width, gap, initial=past)
            after.append(last)
            z = self._drop(self.convolutions[number](seen).relu())
            if number % 2:
                m = z = (z + (self.around(m) if number == 1 else m)).relu()
        return m, TCNState(after[0], torch.cat(after[1:], 1))

    def _drop(self, z: Float[Tensor, "batch *time hidden"]) -> Float[Tensor, "batch *time hidden"]:
        if not self.training or not self.dropout:
            return z
        kept = z.new_ones(len(z), *[1] * (z.ndim - 2), self.hidden)
        return z * functional.dropout(kept, self.dropout)

    @classmethod
    def example(cls) -> "TCN":
        """Return a small instance."""
        return cls(dim=4, hidden=3, blocks=2)


class WeightNormed(nn.Module):
    """A linear map whose rows have a length and a direction of their own.

    Salimans and Kingma, "Weight Normalization", 2016, arXiv:1602.07868, section 2.

    Args:
        inputs: features read.
        outputs: features answered.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        started = Linear(inputs, outputs)
        self.direction, self.bias = started.weight, started.bias
        self.length = nn.Parameter(started.weight.detach().norm(dim=1))

    def forward(self, x: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return the map of each vector along the last axis."""
        scale = self.length / self.direction.norm(dim=1)
        return linear(x, self.direction * scale[:, None], self.bias)
