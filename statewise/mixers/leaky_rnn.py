r"""Leaky RNN: every unit forgets at a pace of its own, which is learned.

Jaeger, Lukosevicius, Popovici and Siewert, "Optimization and applications of echo state networks
with leaky-integrator neurons", Neural Networks 20, 2007, for the rate that leaks; Yamashita and
Tani, "Emergence of Functional Hierarchy in a Multiple Timescale Neural Network Model", PLoS
Computational Biology 4(11), 2008, for the potential.

    alpha = 1 - exp(-1 / tau)                              of each unit
    h_t = (1 - alpha) * h_{t-1} + alpha * f(W x_t + U h_{t-1} + b)      the rate leaks
    y_t = h_t

or, which is another network,

    h_t = (1 - alpha) * h_{t-1} + alpha * (W x_t + U f(h_{t-1}) + b)    the potential leaks
    y_t = f(h_t)

f is tanh or relu. tau > 0 is a unit's time constant, in inputs; its logarithm is the parameter, and
starts uniform from log `shortest` to log `longest`. W starts Xavier, U orthogonal times `gain`, and
b at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  alpha is that of the exact solution over one input, and not Euler's 1 / tau, which is no
         leak where tau is below 1. How tau starts is our choice.
See also elman.py, fast_rnn.py, antisymmetric_rnn.py
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class LeakyRNNState(NamedTuple):
    """What leaky units remember: their rates, or their potentials."""

    h: Float[Tensor, "batch hidden"]


class LeakyRNN(GatedCell[LeakyRNNState]):
    """Recurrent network of leaky integrators with trainable time constants.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        leaks: "rate" or "potential".
        nonlinearity: "tanh" or "relu".
        shortest: the shortest time constant at the start, in inputs.
        longest: the longest.
        gain: how far U, orthogonal at the start, expands.
    """

    remembers = LeakyRNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        leaks: Literal["rate", "potential"] = "rate",
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        shortest: float = 1.0,
        longest: float = 100.0,
        gain: float = 1.0,
    ):
        if leaks not in ("rate", "potential"):
            raise ValueError(f"leaky_rnn: leaks = {leaks!r} should be 'rate' or 'potential'")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"leaky_rnn: nonlinearity {nonlinearity!r} should be 'tanh' or 'relu'")
        if not 0 < shortest <= longest:
            raise ValueError(
                f"leaky_rnn: shortest = {shortest} should be above 0 and at most "
                f"longest = {longest}"
            )
        super().__init__(dim, hidden)
        self.leaks, self.nonlinearity = leaks, nonlinearity
        nn.init.orthogonal_(self.recurrent.weight, gain)
        logs = torch.empty(self.hidden).uniform_(math.log(shortest), math.log(longest))
        self.log_tau = nn.Parameter(logs)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LeakyRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], LeakyRNNState]:
        """Map one input."""
        f = torch.tanh if self.nonlinearity == "tanh" else torch.relu
        alpha = -torch.expm1(-torch.exp(-self.log_tau))
        if self.leaks == "rate":
            h = state.h.lerp(f(self.input(x) + self.recurrent(state.h)), alpha)
            return h, LeakyRNNState(h)
        h = state.h.lerp(self.input(x) + self.recurrent(f(state.h)), alpha)
        return f(h), LeakyRNNState(h)

    @classmethod
    def example(cls) -> "LeakyRNN":
        """Return a small instance."""
        return cls(dim=4, longest=10.0)
