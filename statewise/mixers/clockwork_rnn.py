r"""Clockwork RNN: modules with clocks of their own, each changed at the multiples of its period.

Koutnik, Greff, Gomez and Schmidhuber, "A Clockwork RNN", 2014, arXiv:1402.3511, section 3.

    h^i_t = tanh(W_i x_t + b_i + sum over j >= i of U_ij h^j_{t-1})    where T_i divides t
    h^i_t = h^i_{t-1}                                                  elsewhere
    y_t = h_t

T_1 < T_2 < ... are the periods: fast modules read slower ones, and slow ones never fast ones. The
first input has t = 0, at which every module is changed.

Family   gated cell
Forms    program; step
State    h, (batch, hidden); position, (batch,), t above: hidden + 1 numbers
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`: modules that rest are computed as well
Differs  Weights start normal with deviation 0.1, as we know the paper's from other texts only;
         biases start at zero.
See also dilated_rnn.py, phased_lstm.py, elman.py
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from statewise.mixers.base import Cell


class ClockworkRNNState(NamedTuple):
    """What a clockwork RNN remembers, and how many inputs it read."""

    h: Float[Tensor, "batch hidden"]
    position: Int[Tensor, " batch"]


class ClockworkRNN(Cell[ClockworkRNNState]):
    """Recurrent network in modules of equal size, the slower the later.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        periods: of the modules, in increasing order; their number divides `hidden`.
    """

    remembers = ClockworkRNNState
    counters = ("position",)

    def __init__(
        self, dim: int, hidden: int | None = None, *, periods: Sequence[int] = (1, 2, 4, 8)
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        if not periods or min(periods) < 1 or sorted(set(periods)) != list(periods):
            raise ValueError(f"clockwork_rnn: periods {list(periods)} should increase from 1 on")
        if self.hidden < 1 or self.hidden % len(periods):
            raise ValueError(
                f"clockwork_rnn: hidden = {self.hidden} should part into {len(periods)} modules"
            )
        self.input = nn.Linear(dim, self.hidden)
        self.recurrent = nn.Linear(self.hidden, self.hidden, bias=False)
        for layer in (self.input, self.recurrent):
            nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(self.input.bias)
        period = torch.tensor(periods).repeat_interleave(self.hidden // len(periods))
        self.register_buffer("period", period, persistent=False)
        self.register_buffer("reads", period[:, None] <= period, persistent=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of h and of the position."""
        return {"h": (self.hidden,), "position": ()}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ClockworkRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], ClockworkRNNState]:
        """Map one input."""
        h, position = state
        changed = position[:, None] % self.get_buffer("period") == 0
        weight = torch.where(self.get_buffer("reads"), self.recurrent.weight, 0)
        h = torch.where(changed, (self.input(x) + linear(h, weight)).tanh(), h)
        return h, ClockworkRNNState(h, position + 1)

    @classmethod
    def example(cls) -> "ClockworkRNN":
        """Return a small instance."""
        return cls(dim=4, hidden=6, periods=(1, 2, 5))
