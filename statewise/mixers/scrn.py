r"""SCRN: slow units that average what they read stand beside the units of the simplest network.

Mikolov, Joulin, Chopra, Mathieu and Ranzato, "Learning Longer Memory in Recurrent Neural Networks",
2014, arXiv:1412.7753.

    s_t = (1 - alpha) B x_t + alpha s_{t-1}                slow
    h_t = sigmoid(P s_t + A x_t + R h_{t-1})               fast
    y_t = [h_t; s_t]

The paper's output U h_t + V s_t is what a layer after y_t computes. A, B and P start Xavier, R
orthogonal.

Family   gated cell
Forms    program; step
State    h, (batch, hidden), and s, (batch, slow)
Cost     O(time (hidden (dim + hidden + slow) + dim slow)) work, time steps one after another;
         O(hidden (dim + hidden + slow) + dim slow) in `step`
Differs  alpha is one number and stays as it is: the paper also learns one for each slow unit. How
         it starts the weights is not known to us.
See also elman.py, leaky_rnn.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell
from statewise.mixers.parts.initial import xavier


class SCRNState(NamedTuple):
    """What a structurally constrained network remembers: fast and slow units."""

    h: Float[Tensor, "batch hidden"]
    s: Float[Tensor, "batch slow"]


class SCRN(GatedCell[SCRNState]):
    """Structurally constrained recurrent network; it answers hidden + slow features.

    Args:
        dim: features read.
        hidden: fast units; `dim` if absent.
        slow: slow units; as many if absent.
        alpha: how much of itself a slow unit keeps, from 0 to below 1.
    """

    remembers = SCRNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        slow: int | None = None,
        alpha: float = 0.95,
    ):
        if not 0 <= alpha < 1:
            raise ValueError(f"scrn: alpha = {alpha} should be from 0 to below 1")
        super().__init__(dim, hidden, bias=False)
        self.slow = self.hidden if slow is None else slow
        self.out, self.alpha = self.hidden + self.slow, alpha
        self.context = nn.Linear(dim, self.slow, bias=False)
        self.from_context = nn.Linear(self.slow, self.hidden, bias=False)
        xavier(self.context.weight)
        xavier(self.from_context.weight)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the fast and the slow units."""
        return {"h": (self.hidden,), "s": (self.slow,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: SCRNState
    ) -> tuple[Float[Tensor, "batch out"], SCRNState]:
        """Map one input."""
        s = (1 - self.alpha) * self.context(x) + self.alpha * state.s
        h = (self.from_context(s) + self.input(x) + self.recurrent(state.h)).sigmoid()
        return torch.cat([h, s], -1), SCRNState(h, s)

    @classmethod
    def example(cls) -> "SCRN":
        """Return a small instance."""
        return cls(dim=4, slow=3)
