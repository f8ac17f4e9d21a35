r"""STAR: a gate between the old state and a candidate that reads the input alone, for deep stacks.

Turkoglu, D'Aronco, Wegner and Schindler, "Gating Revisited: Deep Multi-layer RNNs That Can Be
Trained", 2019, arXiv:1911.11033.

    z_t = tanh(W_z x_t + b_z)                              candidate
    k_t = sigmoid(W_k x_t + U_k h_{t-1} + b_k)             gate
    h_t = tanh((1 - k_t) * h_{t-1} + k_t * z_t)
    y_t = h_t

All matrices start orthogonal and the biases at zero, but b_k as -log U(1, longest - 1) where
`longest` is given.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The paper's equations: the authors' program keeps sigmoid(f) of the state and admits
         1 - sigmoid(f - 1) of the candidate, as JANET does. It draws log U(1, 784), we the chrono
         start of Tallec and Ollivier, 2018.
See also janet.py, ugrnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import orthogonal


class STARState(NamedTuple):
    """What a stackable recurrent cell remembers."""

    h: Float[Tensor, "batch hidden"]


class STAR(GatedCell[STARState]):
    """Stackable recurrent cell.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        longest: how many inputs long the longest memories are to be at the start.
    """

    remembers, gates, recurrent_gates = STARState, 2, 1

    def __init__(self, dim: int, hidden: int | None = None, *, longest: int | None = None):
        super().__init__(dim, hidden)
        orthogonal(self.input.weight, 2)
        if longest is not None:
            self.hold(1, 0.0, longest)
            self.bias_of(1).neg_()

    def cell(
        self, x: Float[Tensor, "batch dim"], state: STARState
    ) -> tuple[Float[Tensor, "batch hidden"], STARState]:
        """Map one input."""
        candidate, read = self.input(x).chunk(2, -1)
        gate = (read + self.recurrent(state.h)).sigmoid()
        h = torch.lerp(state.h, candidate.tanh(), gate).tanh()
        return h, STARState(h)

    @classmethod
    def example(cls) -> "STAR":
        """Return a small instance."""
        return cls(dim=4)
