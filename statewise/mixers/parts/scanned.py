"""What mixers share whose recurrence is one diagonal scan: no mixer itself."""

import abc
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import State
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.scan import scan


class Scanned(Recurrent[State]):
    """A mixer  h_t = decay_t * h_{t-1} + drive_t,  y_t = h_t,  whose gates never read the state.

    A subclass sets `dim` and `out`, names its state, with one leaf `h`, and writes `gates`.
    """

    @abc.abstractmethod
    def gates(
        self, x: Float[Tensor, "*axes dim"]
    ) -> tuple[Float[Tensor, "*axes out"], Float[Tensor, "*axes out"]]:
        """Return decay, in float32 or wider, and drive.

        Near one, bfloat16 would round a decay to one.
        """

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.out,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs with one scan."""
        decay, drive = self.gates(x)
        y, h = run(scan, decay, drive, initial=state.h)
        return y, self.remembers(h)
