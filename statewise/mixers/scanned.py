"""What mixers share whose recurrence is one diagonal scan: no mixer itself."""

import abc
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.mixers.base import Mixer, State, blank, zeros
from statewise.ops.scan import scan, scan_step


class Scanned(Mixer[State]):
    """A mixer  h_t = decay_t * h_{t-1} + drive_t,  y_t = h_t,  whose gates never read the state.

    A subclass sets `dim` and `out`, names its state, with one leaf `h`, and writes `gates`.
    """

    remembers: ClassVar[type]
    """The state: a NamedTuple with the leaf h, (batch, out)."""

    @abc.abstractmethod
    def gates(
        self, x: Float[Tensor, "*axes dim"]
    ) -> tuple[Float[Tensor, "*axes out"], Float[Tensor, "*axes out"]]:
        """Return decay, in float32 or wider, and drive.

        Near one, bfloat16 would round a decay to one.
        """

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return h = 0."""
        return self.remembers(zeros(self, batch, self.out, device=device, dtype=dtype))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence with one scan."""
        decay, drive = self.gates(blank(x, lengths))
        initial = None if state is None else _leaf(state)
        y, h = scan(decay, drive, initial=initial, reset=reset, lengths=lengths)
        return y, self.remembers(h)

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input."""
        decay, drive = self.gates(x)
        h = scan_step(decay, drive, _leaf(state))
        return h.to(drive.dtype, copy=True), self.remembers(h)

    def state_size(self, time: int) -> int:
        """Return out, whatever was read."""
        return self.out


def _leaf(state: Any) -> Tensor:
    """Return a state's only leaf."""
    return state.h
