"""Curricula over tasks that come in levels: one head at a time, or one more and all before it.

    single    the head of level n is trained until it is right so often; then that of n + 1 alone
    multi     the heads of all levels up to n are trained; then those up to n + 1

Khajehabdollahi et al., "Emergent mechanisms for long timescales depend on training curriculum and
affect performance in memory tasks", 2023, arXiv:2309.12927, section 2: the body keeps its weights,
each level has a head of its own, and a level is learned at an accuracy of 98 %.

    course = Curriculum(model, NParity, range(2, 15), heads="multi")
    minimize(course, lambda _: course(length=30), steps=3000)
    course.learned                          {2: 210, 3: 340, ...}: calls until each was learned
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statewise.tasks import examples
from statewise.tasks.examples import Examples

SMOOTH = 0.9
"""How much of the running accuracy of the highest level stays with each call."""


class Levelled(Protocol):
    """A task at one level, which counts from its n-th token on."""

    @property
    def answers(self) -> int:
        """Return how many answers there are."""
        ...

    @property
    def n(self) -> int:
        """Return the level."""
        ...

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return examples."""
        ...

    def targets(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
        """Return the answers to any tokens, so that one stream serves all levels."""
        ...


class Curriculum(nn.Module):
    """A model with a head for each level of a task, and how far it is.

    Args:
        body: has `features`, as a language model has, and a `config` with their `dim`.
        task: makes a task of a level.
        levels: rising, at least one.
        heads: whether those of earlier levels are trained on, "multi", or not, "single".
        threshold: the running accuracy at which a level is learned, and the next begins.
        seed: of the examples.

    Raises:
        ValueError: without a level, or a threshold that is no share.
    """

    def __init__(
        self,
        body: Any,
        task: Callable[[int], Levelled],
        levels: Sequence[int],
        *,
        heads: Literal["single", "multi"],
        threshold: float = 0.98,
        seed: int = 0,
    ):
        super().__init__()
        if not levels or not 0 < threshold <= 1:
            raise ValueError(
                f"a curriculum needs a level, not {list(levels)}, and a threshold above 0 and at "
                f"most 1, not {threshold}"
            )
        self.body, self.kind, self.threshold = body, heads, threshold
        self.tasks = {level: task(level) for level in levels}
        answers = self.tasks[levels[0]].answers
        self.heads = nn.ModuleList(nn.Linear(body.config.dim, answers) for _ in levels)
        self.generator = torch.Generator().manual_seed(2 * seed)
        self.asking = torch.Generator().manual_seed(2 * seed + 1)
        self.at, self.right, self.calls = 0, 0.0, 0
        self.learned: dict[int, int] = {}
        """Levels that were learned, and after how many calls."""

    @property
    def level(self) -> int:
        """Return the highest level that is trained."""
        return list(self.tasks)[self.at]

    def trained(self) -> list[int]:
        """Return the levels that are trained now."""
        known = list(self.tasks)[: self.at + 1]
        return known if self.kind == "multi" else known[-1:]

    def forward(self, *, length: int, batch: int = 64) -> Float[Tensor, ""]:
        """Return what the levels in training cost together, in nats; go on where one is learned.

        Args:
            length: tokens of each example, no fewer than the highest level.
            batch: examples.
        """
        top = self.level
        drawn = self.tasks[top].draw(batch, length, self.generator)
        features, _ = self.body.features(drawn.tokens)
        costs = [self._cost(level, features, drawn.tokens) for level in self.trained()]
        self.calls += 1
        now = self._accuracy(top, features.detach(), drawn.tokens)
        self.right = SMOOTH * self.right + (1 - SMOOTH) * now
        if self.right >= self.threshold and top not in self.learned:
            self.learned[top] = self.calls
            if self.at + 1 < len(self.tasks):
                self.at, self.right = self.at + 1, 0.0
        return torch.stack(costs).sum()

    @torch.no_grad()
    def accuracy(self, level: int, *, length: int, batch: int = 256) -> float:
        """Return how often the head of a level is right on new examples."""
        drawn = self.tasks[level].draw(batch, length, self.asking)
        return self._accuracy(level, self.body.features(drawn.tokens)[0], drawn.tokens)

    def _cost(self, level: int, features: Tensor, tokens: Tensor) -> Tensor:
        head = self.heads[list(self.tasks).index(level)]
        return examples.loss(head(features), self._asked(level, tokens))

    @torch.no_grad()
    def _accuracy(self, level: int, features: Tensor, tokens: Tensor) -> float:
        head = self.heads[list(self.tasks).index(level)]
        return examples.accuracy(head(features).argmax(-1), self._asked(level, tokens))

    def _asked(self, level: int, tokens: Tensor) -> Examples:
        """Return what a level asks of tokens."""
        mask = (torch.arange(tokens.shape[1]) >= level - 1).expand(tokens.shape)
        return Examples(tokens, self.tasks[level].targets(tokens), mask)
