"""Cells that read irregular time: no mixer itself."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from statewise.mixers.base import Cell, State, state_dtype
from statewise.ops import newton, programs


class ElapsedCell(Cell[State]):
    """A cell that is told, beside each input, how much time passed since the one before.

    `cell` reads it as one more feature, the last: the time elapsed, or what `clock` makes of it.
    """

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        elapsed: Float[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence; `elapsed` is one at each input if absent."""
        timed, state = self._timed(x, state, elapsed, reset)
        y, state = super().forward(timed, state, reset=reset, lengths=lengths)
        return y.to(x.dtype), state

    def solve(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        elapsed: Float[Tensor, "batch time"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        **options: Any,
    ) -> tuple[Float[Tensor, "batch time out"], State, newton.Report]:
        """Map a whole sequence with all its states at once; see `Cell.solve`."""
        timed, state = self._timed(x, state, elapsed, reset)
        y, state, report = super().solve(timed, state, reset=reset, **options)
        return y.to(x.dtype), state, report

    def step(
        self,
        x: Float[Tensor, "batch dim"],
        state: State,
        *,
        elapsed: Float[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input; `elapsed` is one if absent."""
        wide = state_dtype(x.dtype)
        marks = self.clock(self._elapsed(x, elapsed)[:, None], state, None)
        y, state = super().step(torch.cat([x.to(wide), marks.to(wide)], -1), state)
        return y.to(x.dtype), state

    def _timed(
        self, x: Tensor, state: State | None, elapsed: Tensor | None, reset: Tensor | None
    ) -> tuple[Tensor, State]:
        """Return inputs beside their time, and the state, the initial one if absent."""
        wide = state_dtype(x.dtype)
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=wide)
        marks = self.clock(self._elapsed(x, elapsed), state, reset)
        return torch.cat([x.to(wide), marks[..., None].to(wide)], -1), state

    def _elapsed(
        self, x: Float[Tensor, "batch *time dim"], elapsed: Tensor | None
    ) -> Float[Tensor, "batch *time"]:
        """Return the time before each input, in the precision of a state."""
        wide = state_dtype(x.dtype)
        if elapsed is None:
            return torch.ones_like(x[..., 0], dtype=wide)
        if elapsed.shape != x.shape[:-1]:
            raise ValueError(
                f"{type(self).__name__}: elapsed {tuple(elapsed.shape)} should have one time for "
                f"each input, {tuple(x.shape[:-1])}"
            )
        return elapsed.to(wide)

    def reading(
        self, x: Float[Tensor, "batch *time dim"], leaves: Sequence[Tensor]
    ) -> programs.Reading | programs.Unreadable:
        """Return what `cell` computes on inputs, with or without their time, or why not."""
        return super().reading(pad(x, (0, self.dim + 1 - x.shape[-1])), leaves)

    def clock(
        self,
        elapsed: Float[Tensor, "batch time"],
        state: State,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> Float[Tensor, "batch time"]:
        """Return what `cell` reads of the time. What is padding may be anything."""
        return elapsed
