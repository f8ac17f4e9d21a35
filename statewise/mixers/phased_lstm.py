r"""Phased LSTM: an LSTM whose units open once in each period of their own, else they rest.

Neil, Pfeiffer and Liu, "Phased LSTM: Accelerating Recurrent Network Training for Long or
Event-based Sequences", 2016, arXiv:1610.09513, section 2.

    p_t = ((time_t - s) mod period) / period
    k_t = 2 p_t / r            where p_t < r / 2                 the gate opens,
          2 - 2 p_t / r        where r / 2 <= p_t < r            closes,
          leak p_t             elsewhere                         and rests
    i_t, f_t = sigmoid(W x_t + b + U h_{t-1} + w * c_{t-1})      each with its own W, b, U and w
    c~_t = f_t * c_{t-1} + i_t * tanh(W_g x_t + b_g + U_g h_{t-1})
    o_t = sigmoid(W_o x_t + b_o + U_o h_{t-1} + w_o * c~_t)
    c_t = k_t * c~_t + (1 - k_t) * c_{t-1}
    h_t = k_t * (o_t * tanh(c~_t)) + (1 - k_t) * h_{t-1}
    y_t = h_t

time_t is that of the input: the sum of `elapsed` since the start, or the number of inputs. The leak
is for training alone, where resting units would learn nothing. At the start period = exp(U(1, 6)),
s is uniform within the period, W is Xavier, U orthogonal by gate, b_f = 2, and all else zero.

Family   gated cell
Forms    program; step
State    h and c, (batch, hidden); time, (batch,), in the state's precision: 2 hidden + 1 numbers
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`: units at rest are computed as well
Differs  r is a constant, as by default in the published code, whose shifts are uniform in (0, 1000)
         instead. In float32 the number of inputs is exact to 16 million.
See also clockwork_rnn.py, lstm.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statewise.mixers.parts.elapsed import ElapsedCell
from statewise.mixers.parts.initial import orthogonal, xavier


class PhasedLSTMState(NamedTuple):
    """What a phased LSTM remembers, and the time of its last input."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]
    time: Float[Tensor, " batch"]


class PhasedLSTM(ElapsedCell[PhasedLSTMState]):
    """LSTM with a gate of time.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        shortest: logarithm of the shortest period at the start.
        longest: logarithm of the longest.
        ratio: of each period in which a unit is open.
        leak: how fast the gate opens at rest, in training.
        forget_bias: of f at the start.
    """

    remembers = PhasedLSTMState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        shortest: float = 1.0,
        longest: float = 6.0,
        ratio: float = 0.05,
        leak: float = 1e-3,
        forget_bias: float = 2.0,
    ):
        super().__init__()
        if shortest > longest or not 0 < ratio <= 1:
            raise ValueError(
                f"phased_lstm: shortest = {shortest} should be at most longest = {longest}, and "
                f"ratio = {ratio} above 0 and at most 1"
            )
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.ratio, self.leak = ratio, leak
        self.input = nn.Linear(dim, 4 * self.hidden)
        self.recurrent = nn.Linear(self.hidden, 4 * self.hidden, bias=False)
        xavier(self.input.weight, 4)
        orthogonal(self.recurrent.weight, 4)
        nn.init.zeros_(self.input.bias)
        nn.init.constant_(self.input.bias[self.hidden : 2 * self.hidden], forget_bias)
        self.peepholes = nn.Parameter(torch.zeros(3, self.hidden))
        self.period = nn.Parameter(torch.empty(self.hidden).uniform_(shortest, longest).exp())
        self.shift = nn.Parameter(torch.rand(self.hidden) * self.period.detach())

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of h, c and the time."""
        return {"h": (self.hidden,), "c": (self.hidden,), "time": ()}

    def clock(
        self,
        elapsed: Float[Tensor, "batch time"],
        state: PhasedLSTMState,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> Float[Tensor, "batch time"]:
        """Return the time of each input."""
        total = elapsed.cumsum(1)
        time = state.time[:, None] + total
        if reset is None:
            return time
        place = torch.arange(reset.shape[1], device=reset.device)
        since = torch.where(reset, place, -1).cummax(1).values
        before = (total - elapsed).gather(1, since.clamp(min=0))
        return torch.where(since < 0, time, total - before)

    def openness(self, time: Float[Tensor, "batch one"]) -> Float[Tensor, "batch hidden"]:
        """Return k_t."""
        period, r = self.period.abs(), self.ratio
        p = torch.remainder(time - self.shift, period) / period
        rests = self.leak * p if self.training else torch.zeros_like(p)
        return torch.where(p < r / 2, 2 * p / r, torch.where(p < r, 2 - 2 * p / r, rests))

    def cell(
        self, x: Float[Tensor, "batch timed"], state: PhasedLSTMState
    ) -> tuple[Float[Tensor, "batch hidden"], PhasedLSTMState]:
        """Map one input, whose last feature is its time."""
        x, time = x.split([self.dim, 1], -1)
        h, c, _ = state
        w_i, w_f, w_o = self.peepholes.unbind()
        i, f, g, o = (self.input(x) + self.recurrent(h)).chunk(4, -1)
        inner = (f + w_f * c).sigmoid() * c + (i + w_i * c).sigmoid() * g.tanh()
        shown = (o + w_o * inner).sigmoid() * inner.tanh()
        k = self.openness(time)
        c = k * inner + (1 - k) * c
        h = k * shown + (1 - k) * h
        return h, PhasedLSTMState(h, c, time[:, 0])

    @classmethod
    def example(cls) -> "PhasedLSTM":
        """Return a small instance."""
        return cls(dim=4, hidden=3, longest=2.5, ratio=0.5)
