"""What a synthetic task hands over: tokens, the answer wanted at each, and where it counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


class Examples(NamedTuple):
    """A batch of examples."""

    tokens: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    """The answer at each token, from the same vocabulary; anything where it does not count."""
    mask: Bool[Tensor, "batch time"]
    """Where answers count."""
    difficulty: Int[Tensor, "batch time"] | None = None
    """What makes an answer hard, in units of the task (depth, pairs), where the task tells it."""


@runtime_checkable
class Source(Protocol):
    """Examples without end: the same generator, the same bytes."""

    @property
    def vocab(self) -> int:
        """Return the symbols there are, tokens and answers together."""
        ...

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens each."""
        ...


@runtime_checkable
class Task(Source, Protocol):
    """A source whose answers are exact."""

    @property
    def answers(self) -> int:
        """Return how many answers there are. Not all are equally likely in every task: `chance`."""
        ...

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers to one example, as a loop that defines the task."""
        ...


@dataclass(frozen=True)
class LastAnswer:
    """A task of whose answers only the last of each example counts, where all would.

    Args:
        task: any whose last answer counts.
    """

    task: Task

    @property
    def vocab(self) -> int:
        """Return the task's symbols."""
        return self.task.vocab

    @property
    def answers(self) -> int:
        """Return how many answers there are."""
        return self.task.answers

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return the task's examples, asked at their last tokens."""
        drawn = self.task.draw(batch, length, generator)
        last = torch.zeros_like(drawn.mask)
        last[:, -1] = drawn.mask[:, -1]
        return drawn._replace(mask=last)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers to one example."""
        return self.task.solve(tokens)


def loss(logits: Float[Tensor, "batch time vocab"], examples: Examples) -> Float[Tensor, ""]:
    """Return the mean cost of the answers that count, in nats."""
    return functional.cross_entropy(logits[examples.mask], examples.targets[examples.mask])


def accuracy(answers: Int[Tensor, "batch time"], examples: Examples) -> float:
    """Return the share of right answers among those that count."""
    right = answers == examples.targets
    return right[examples.mask].double().mean().item()


def accuracy_by(answers: Int[Tensor, "batch time"], examples: Examples) -> dict[int, float]:
    """Return the share of right answers among those that count, for each difficulty, rising.

    Raises:
        ValueError: for examples that tell no difficulty.
    """
    if examples.difficulty is None:
        raise ValueError("the difficulty of these examples is None: their task does not tell it")
    levels = examples.difficulty[examples.mask]
    right = (answers == examples.targets)[examples.mask].double()
    return {int(level): right[levels == level].mean().item() for level in levels.unique()}


def chance(examples: Examples) -> float:
    """Return how often one answer is right that is always the same: the most frequent one."""
    _, times = examples.targets[examples.mask].unique(return_counts=True)
    return times.max().item() / times.sum().item()


def chooser(generator: torch.Generator) -> Callable[[int], int]:
    """Return a function that draws a whole number from 0 to below its argument.

    A thousand numbers are drawn at once: for one alone torch takes several microseconds, and what
    is drawn as a tree takes one for every branch.
    """

    def shares() -> Iterator[float]:
        while True:
            yield from torch.rand(1000, dtype=torch.float64, generator=generator).tolist()

    share = shares()
    return lambda below: int(next(share) * below)
