"""What a synthetic task hands over: tokens, the answer wanted at each, and where it counts."""

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


@runtime_checkable
class Task(Protocol):
    """Examples without end: the same generator, the same bytes."""

    @property
    def vocab(self) -> int:
        """Return the symbols there are, tokens and answers together."""
        ...

    @property
    def answers(self) -> int:
        """Return how many answers there are, all equally likely: chance is one in so many."""
        ...

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens each."""
        ...

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers to one example, as a loop that defines the task."""
        ...


def loss(logits: Float[Tensor, "batch time vocab"], examples: Examples) -> Float[Tensor, ""]:
    """Return the mean cost of the answers that count, in nats."""
    return functional.cross_entropy(logits[examples.mask], examples.targets[examples.mask])


def accuracy(answers: Int[Tensor, "batch time"], examples: Examples) -> float:
    """Return the share of right answers among those that count."""
    right = answers == examples.targets
    return right[examples.mask].double().mean().item()
