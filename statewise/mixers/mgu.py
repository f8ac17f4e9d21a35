r"""MGU: one gate both opens the memory to a candidate and hides what the candidate reads of it.

Zhou, Wu, Zhang and Zhou, "Minimal Gated Unit for Recurrent Neural Networks", 2016,
arXiv:1603.09420; variants 1 to 3 are from Heck and Salem, "Simplified Minimal Gated Unit Variations
for Recurrent Neural Networks", 2017, arXiv:1701.03452.

    f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)             gate
        = sigmoid(U_f h_{t-1} + b_f)                       in variant 1
        = sigmoid(U_f h_{t-1})                             in variant 2
        = sigmoid(b_f)                                     in variant 3
    n_t = tanh(W x_t + U (f_t * h_{t-1}) + b)              candidate
    h_t = (1 - f_t) * h_{t-1} + f_t * n_t
    y_t = h_t

Each W starts Xavier, each U orthogonal, and the biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  How the papers start the weights is not known to us.
See also gru.py, ugrnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import orthogonal, xavier


class MGUState(NamedTuple):
    """What a minimal gated unit remembers."""

    h: Float[Tensor, "batch hidden"]


class MGU(GatedCell[MGUState]):
    """Minimal gated unit.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        variant: what the gate reads: the input, the state and a bias (0), all but the input (1),
            the state alone (2), or nothing but the bias (3).
    """

    remembers = MGUState

    def __init__(self, dim: int, hidden: int | None = None, *, variant: int = 0):
        if variant not in range(4):
            raise ValueError(f"mgu: variant = {variant} should be from 0 to 3")
        super().__init__(dim, hidden)
        self.variant = variant
        if variant == 0:
            self.gate_input = nn.Linear(dim, self.hidden, bias=False)
            xavier(self.gate_input.weight)
        if variant != 3:
            self.gate_recurrent = nn.Linear(self.hidden, self.hidden, bias=False)
            orthogonal(self.gate_recurrent.weight)
        if variant != 2:
            self.gate_bias = nn.Parameter(torch.zeros(self.hidden))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: MGUState
    ) -> tuple[Float[Tensor, "batch hidden"], MGUState]:
        """Map one input."""
        f = self.gate(x, state.h)
        candidate = (self.input(x) + self.recurrent(f * state.h)).tanh()
        h = state.h.lerp(candidate, f)
        return h, MGUState(h)

    def gate(
        self, x: Float[Tensor, "batch dim"], h: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "*batch hidden"]:
        """Return f, without rows where it reads none."""
        terms = [self.gate_bias] if self.variant != 2 else []
        if self.variant == 0:
            terms.append(self.gate_input(x))
        if self.variant != 3:
            terms.append(self.gate_recurrent(h))
        return sum(terms[1:], terms[0]).sigmoid()

    @classmethod
    def example(cls) -> "MGU":
        """Return a small instance."""
        return cls(dim=4)
