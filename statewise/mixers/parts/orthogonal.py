"""Cells whose recurrent matrix is orthogonal whatever is learned: no mixer itself."""

import abc
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from statewise.mixers.base import Cell, State


class OrthogonalCell(Cell[State]):
    """h_t = modrelu(V x_t + Q h_{t-1}),  with an orthogonal Q that a subclass makes of `skew`.

    A subclass names its state, with one leaf `h`.

    Args:
        mixer: its name, for what is refused.
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        angles: of the rotations of pairs that Q starts with, in radians.
    """

    def __init__(self, mixer: str, dim: int, hidden: int | None):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        if self.hidden < 2:
            raise ValueError(f"{mixer}: hidden = {self.hidden} should be at least 2")
        self.input = nn.Linear(dim, self.hidden, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.hidden))
        # Only what is above the diagonal is read.
        self.skew = nn.Parameter(torch.zeros(self.hidden, self.hidden))

    @torch.no_grad()
    def turn(self, entries: Float[Tensor, " pairs"]) -> None:
        """Fill the skew-symmetric matrix with one number for each pair (2j, 2j + 1)."""
        first = 2 * torch.arange(len(entries))
        self.skew.zero_()
        self.skew[first, first + 1] = entries.to(self.skew.dtype)

    def skew_symmetric(self) -> Float[Tensor, "hidden hidden"]:
        """Return A with A^T = -A."""
        upper = self.skew.triu(1)
        return upper - upper.mT

    @abc.abstractmethod
    def transition(self) -> Float[Tensor, "hidden hidden"]:
        """Return Q."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}

    def cell(self, x: Float[Tensor, "batch dim"], state: Any) -> tuple[Tensor, State]:
        """Map one input."""
        h = modrelu(self.input(x) + linear(state.h, self.transition()), self.bias)
        return h, self.remembers(h)


def modrelu(v: Float[Tensor, "*axes n"], bias: Float[Tensor, " n"]) -> Float[Tensor, "*axes n"]:
    """Return sign(v) relu(|v| + bias): Arjovsky et al., 2016, arXiv:1511.06464."""
    return v.sign() * relu(v.abs() + bias)


def cayley_entries(angles: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """Return entries a such that (I + A)^-1 (I - A) turns pairs by these angles.

    The rule -sqrt((1 - cos u) / (1 + cos u)) = -tan(u / 2) of Helfrich et al., for u from 0 to pi.
    """
    return -(angles / 2).tan()
