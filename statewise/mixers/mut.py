r"""MUT: the three gated cells that a search over ten thousand found to rival GRU and LSTM.

Jozefowicz, Zaremba and Sutskever, "An Empirical Exploration of Recurrent Network Architectures",
ICML 2015, section 3.

MUT1:

    z_t = sigmoid(W_z x_t + b_z)                           update gate
    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)             reset gate
    n_t = tanh(U_h (r_t * h_{t-1}) + tanh(x_t) + b_h)      candidate

MUT2:

    z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)
    r_t = sigmoid(x_t + U_r h_{t-1} + b_r)
    n_t = tanh(U_h (r_t * h_{t-1}) + W_h x_t + b_h)

MUT3:

    z_t = sigmoid(W_z x_t + U_z tanh(h_{t-1}) + b_z)
    r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)
    n_t = tanh(U_h (r_t * h_{t-1}) + W_h x_t + b_h)

All three:

    h_t = (1 - z_t) * h_{t-1} + z_t * n_t
    y_t = h_t

Each W starts Xavier, each U orthogonal, and the biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  How the paper starts the weights is not known to us.
See also gru.py, mgu.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import orthogonal


class MUTState(NamedTuple):
    """What a mutated cell remembers."""

    h: Float[Tensor, "batch hidden"]


class MUT(GatedCell[MUTState]):
    """Cells found by mutation.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent. MUT1 and MUT2 add the input
            itself to the state, so that theirs has to be `dim`.
        variant: which, from 1 to 3.
    """

    remembers, recurrent_gates = MUTState, 1

    def __init__(self, dim: int, hidden: int | None = None, *, variant: int = 1):
        if variant not in (1, 2, 3):
            raise ValueError(f"mut: variant = {variant} should be 1, 2 or 3")
        if variant < 3 and hidden not in (None, dim):
            raise ValueError(
                f"mut: hidden = {hidden} should be dim = {dim} in variant {variant}, which adds "
                "inputs to states"
            )
        self.gates = 3 if variant == 3 else 2
        super().__init__(dim, hidden, bias=False)
        self.variant = variant
        self.bias = nn.Parameter(torch.zeros(3 * self.hidden))
        self.reset = nn.Linear(self.hidden, self.hidden, bias=False)
        orthogonal(self.reset.weight)
        if variant > 1:
            self.update = nn.Linear(self.hidden, self.hidden, bias=False)
            orthogonal(self.update.weight)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: MUTState
    ) -> tuple[Float[Tensor, "batch hidden"], MUTState]:
        """Map one input."""
        h = state.h
        z, r, n = (self.read(x) + self.bias).chunk(3, -1)
        if self.variant > 1:
            z = z + self.update(h if self.variant == 2 else h.tanh())
        r = (r + self.reset(h)).sigmoid()
        n = (n + self.recurrent(r * h)).tanh()
        h = h.lerp(n, z.sigmoid())
        return h, MUTState(h)

    def read(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch three_hidden"]:
        """Return what z, r and n read of the input, side by side."""
        read = self.input(x)
        if self.variant == 1:
            return torch.cat([read, x.tanh()], -1)
        if self.variant == 2:
            z, n = read.chunk(2, -1)
            return torch.cat([z, x, n], -1)
        return read

    @classmethod
    def example(cls) -> "MUT":
        """Return a small instance."""
        return cls(dim=4)
