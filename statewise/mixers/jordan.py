r"""Jordan's network: what it reads of the past is what it answered, not what it thought.

Jordan, "Attractor dynamics and parallelism in a connectionist sequential machine", Proceedings of
the Eighth Annual Conference of the Cognitive Science Society, 1986.

    h_t = tanh(W x_t + U s_{t-1} + b)
    y_t = V h_t + c
    s_t = decay * s_{t-1} + y_t                the state units

W and V start Xavier, U orthogonal, b and c at zero.

Family   gated cell
Forms    program; step
State    s, (batch, answers)
Cost     O(time hidden (dim + answers)) work, two products one after the other at each time step;
         O(hidden (dim + answers)) in `step`
Differs  It reads its own answers in training too: to read targets in their place, put them into x.
         Hidden units are tanh, and answers linear.
See also elman.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import Cell
from statewise.mixers.parts.initial import orthogonal, xavier


class JordanState(NamedTuple):
    """What Jordan's network remembers: its last answers, older ones with less weight."""

    s: Float[Tensor, "batch answers"]


class Jordan(Cell[JordanState]):
    """Jordan's recurrent network.

    Args:
        dim: features read.
        hidden: units between; `dim` if absent.
        answers: features answered and fed back; `dim` if absent.
        decay: how much of the state units stays; with none they hold the last answer.
    """

    remembers = JordanState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        answers: int | None = None,
        decay: float = 0.0,
    ):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"jordan: decay = {decay} should be from 0 and below 1")
        self.dim, self.decay = dim, decay
        hidden = dim if hidden is None else hidden
        self.out = dim if answers is None else answers
        self.input = nn.Linear(dim, hidden)
        self.recurrent = nn.Linear(self.out, hidden, bias=False)
        self.output = nn.Linear(hidden, self.out)
        orthogonal(self.recurrent.weight)
        for layer in (self.input, self.output):
            xavier(layer.weight)
            nn.init.zeros_(layer.bias)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of s."""
        return {"s": (self.out,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: JordanState
    ) -> tuple[Float[Tensor, "batch out"], JordanState]:
        """Map one input."""
        h = (self.input(x) + self.recurrent(state.s)).tanh()
        y = self.output(h)
        return y, JordanState(self.decay * state.s + y)

    @classmethod
    def example(cls) -> "Jordan":
        """Return a small instance."""
        return cls(dim=4, answers=3, decay=0.5)
