"""What mixers share whose state is vectors that start from learned ones: no mixer itself."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import State, state_dtype
from statewise.mixers.parts.recurrent import Recurrent, Run, begins
from statewise.ops.matrix_scan import matrix_scan


class Started(Recurrent[State]):
    """A mixer  h_t = A_t h_{t-1} + drive_t  of small blocks, whose h before any input is learned.

    A subclass names its state, with one leaf `h`, sets `start`, and calls `scanned` in `mix`.
    """

    start: nn.Parameter
    """h before any input and at a reset: (blocks, block)."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": tuple(self.start.shape)}

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the learned start, in every row."""
        start = self.start.to(device=device, dtype=state_dtype(dtype or self.start.dtype))
        return self.remembers(start.expand(batch, -1, -1).clone())

    def scanned(
        self,
        transition: Float[Tensor, "batch *time blocks n n"],
        drive: Float[Tensor, "batch *time blocks n"] | None,
        state: Any,
        run: Run,
    ) -> tuple[Float[Tensor, "batch *time blocks n"], Float[Tensor, "batch blocks n"]]:
        """Return every h_t, and the last."""
        # A reset leaves zeros. What the start becomes there is added to the drive.
        begun = begins(transition.flatten(-3)[..., :1], run)[..., None]
        added = begun * (transition @ self.start.to(transition.dtype)[..., None])[..., 0]
        return run(
            matrix_scan, transition, added if drive is None else drive + added, initial=state.h
        )
