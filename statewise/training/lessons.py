"""What a model is trained on, as the loop sees it: the gradients of a step, and a score."""

import abc
from typing import Any, NamedTuple

from statewise.training.processes import Processes


class Taken(NamedTuple):
    """What one step of this process came to."""

    nats: float
    """The cost of all its answers."""
    targets: int
    """How many answers there were."""
    tokens: int
    """How many inputs all processes read."""


class Lessons(abc.ABC):
    """Steps without end, each a pure function of its number and of the states, and an examination.

    `states` is what has to be carried from one step to the next, a value for each part of a step,
    or None; it is saved with every checkpoint.
    """

    states: list[Any]

    loss: str
    """What the cost of an answer, in bits, is written down as."""

    target: str
    """What is answered, such as "token"."""

    token: str
    """What is read and counted, such as "token" or "word"."""

    @abc.abstractmethod
    def backward(self, wrapped: Any, step: int, processes: Processes) -> Taken:
        """Run a step forward and backward; gradients are left on the parameters."""

    @abc.abstractmethod
    def examples(self, processes: Processes) -> list[Any]:
        """Return a state of the kind that each part has, or None where none is carried."""

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
