"""Cells of one layer with stacked matrices, a block of rows for each gate: no mixer itself.

    class Mine(GatedCell[MineState]):
        remembers, gates = MineState, 2

        def cell(self, x, state):
            c, g = (self.input(x) + self.recurrent(state.h)).chunk(2, -1)
            ...

A gate is a chunk of the last axis, `hidden` numbers wide.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from statewise.mixers.base import Cell, State
from statewise.mixers.parts.initial import chrono, orthogonal, xavier


class GatedCell(Cell[State]):
    """A cell with one product for the input and one for the state, all gates beside each other.

    A subclass names its state, says how many gates there are, and writes `cell`. What varies from
    one instance to another it sets before it calls this constructor. Input weights start Xavier and
    recurrent ones orthogonal, by gate; biases are zero.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        bias: whether the product with the input has biases.
    """

    gates: int = 1
    """Blocks of rows of `input`."""

    recurrent_gates: int | None = None
    """Blocks of rows of `recurrent`; as many as of `input` if absent, and none if 0."""

    def __init__(self, dim: int, hidden: int | None = None, *, bias: bool = True):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        if self.recurrent_gates is None:
            self.recurrent_gates = self.gates
        self.input = nn.Linear(dim, self.gates * self.hidden, bias=bias)
        if self.recurrent_gates:
            self.recurrent = nn.Linear(self.hidden, self.recurrent_gates * self.hidden, bias=False)
            orthogonal(self.recurrent.weight, self.recurrent_gates)
        xavier(self.input.weight, self.gates)
        if bias:
            nn.init.zeros_(self.input.bias)

    def bias_of(self, gate: int) -> Tensor:
        """Return one gate's biases, the parameter's own numbers, to be set."""
        return self.input.bias.detach().chunk(self.gates)[gate]

    @torch.no_grad()
    def hold(self, gate: int, bias: float, longest: int | None) -> None:
        """Start a forget gate open: at `bias`, or chrono for memories up to `longest` if given."""
        if longest is None:
            self.bias_of(gate).fill_(bias)
        else:
            chrono(self.bias_of(gate), longest)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the leaves, all as wide as the output."""
        return dict.fromkeys(self.remembers._fields, (self.hidden,))
