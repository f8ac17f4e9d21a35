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

    A subclass names its state, with one leaf `h`, and calls `scanned` in `mix`.

    Args:
        mixer: its name, for what is refused.
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        block: features of each block, at least 2.
    """

    def __init__(self, mixer: str, dim: int, hidden: int | None, block: int):
        super().__init__()
        self.dim = dim
        self.out = hidden = dim if hidden is None else hidden
        if block < 2:
            raise ValueError(f"{mixer}: block = {block} should be at least 2")
        if hidden < 1 or hidden % block:
            raise ValueError(f"{mixer}: hidden = {hidden} should part into blocks of {block}")
        # h before any input and at a reset.
        self.start = nn.Parameter(torch.randn(hidden // block, block))

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
