"""What a model is trained on, as the loop sees it: the gradients of a step, and a score."""

import abc
from typing import Any, NamedTuple

from statewise.training.processes import Processes
from statewise.training.progress import Progress


class Taken(NamedTuple):
    """What one step of this process came to."""

    nats: float
    """The cost of all its answers."""
    targets: int
    """How many answers there were."""
    tokens: int
    """How many inputs all processes read."""


class Lessons(abc.ABC):
    """Steps without end, each a pure function of how far the run is and of the states, and an exam.

    `states` is what has to be carried from one step to the next, several values, of which each may
    be None; they are saved with every checkpoint.
    """

    states: list[Any]

    loss: str
    """What the cost of an answer, in bits, is written down as."""

    target: str
    """What is answered, such as "token"."""

    token: str
    """What is read and counted, such as "token" or "word"."""

    @abc.abstractmethod
    def backward(self, wrapped: Any, done: Progress, processes: Processes) -> Taken:
        """Run the next step forward and backward; gradients are left on the parameters."""

    @abc.abstractmethod
    def examples(self, processes: Processes) -> list[Any]:
        """Return a state of the kind of each of `states`, or None where none is carried."""

    @abc.abstractmethod
    def cost(self) -> float:
        """Read the held-out data; return a number that should be low."""

    @abc.abstractmethod
    def figures(self, cost: float) -> dict[str, float]:
        """Return what `cost` is written down as, by name."""

    @abc.abstractmethod
    def sentence(self, cost: float) -> str:
        """Return `cost` in words, such as "1.2345 bits per byte on held-out text"."""

    @abc.abstractmethod
    def short(self, cost: float) -> str:
        """Return `cost` as a bar shows it, such as "1.234 bits/byte"."""

    def pace(self, step: int) -> float:
        """Return what the learning rate of a step is multiplied by: more where it reads more."""
        return 1.0
