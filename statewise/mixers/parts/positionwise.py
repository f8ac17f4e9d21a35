"""Mixers that read each position by itself, and remember nothing: no mixer itself."""

import abc
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import State
from statewise.mixers.parts.recurrent import Recurrent, Run


class Positionwise(Recurrent[State]):
    """A mixer whose answer at each position is a function of its input there.

    A subclass sets `dim` and `out`, names its state, which is empty, and writes `at`.
    """

    @abc.abstractmethod
    def at(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes out"]:
        """Map positions."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return none."""
        return {}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs."""
        return self.at(x), self.remembers()
