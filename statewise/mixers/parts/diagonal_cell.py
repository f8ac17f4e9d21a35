"""Cells whose units read none but their own past: no mixer itself."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import Cell, State
from statewise.mixers.parts.recurrent import divided


class DiagonalCell(Cell[State]):
    """A gated cell without a recurrent matrix: each unit has `vectors` numbers for its own past.

    Args:
        mixer: its name, for what is refused.
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        heads: parts of the input, each read by as large a part of the units.
        gates: products with the input.
        vectors: numbers of each unit that act on the state.
    """

    def __init__(
        self, mixer: str, dim: int, hidden: int | None, *, heads: int, gates: int, vectors: int
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        divided(mixer, heads, dim=dim, hidden=self.hidden)
        self.heads = heads
        self.input = nn.Parameter(torch.empty(gates, heads, self.hidden // heads, dim // heads))
        self.recurrent = nn.Parameter(torch.empty(vectors, self.hidden))
        self.bias = nn.Parameter(torch.zeros(gates, self.hidden))

    @torch.no_grad()
    def start_as_pararnn(self, fan_out: int) -> None:
        """Draw the start of Apple's library: small vectors, Xavier blocks, one gate's bias spread.

        The first gate's bias runs from 0 to -1 over the units.
        """
        nn.init.normal_(self.recurrent, std=2 / (5 * self.hidden) ** 0.5)
        bound = (6 / (self.input.shape[-1] + fan_out)) ** 0.5
        nn.init.uniform_(self.input, -bound, bound)
        self.bias[0] = -torch.linspace(0, 1, self.hidden)

    def drives(self, x: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch hidden"], ...]:
        """Return what each gate reads of the input."""
        parts = x.unflatten(-1, (self.heads, -1))
        products = torch.einsum("bni,gnoi->bgno", parts, self.input).flatten(2)
        return (products + self.bias).unbind(1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return those of the leaves: a number for each unit."""
        fields: Any = self.remembers
        return dict.fromkeys(fields._fields, (self.hidden,))
