"""Teaching the adding problem to any mixer, and asking it.

adder = Adder("lstm", dim=64)
losses = learn_sums(adder, length=100, steps=4000)
squared_error(adder, length=100)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from statewise import mixers
from statewise.mixers import Mixer
from statewise.tasks.adding_problem import AddingProblem

TASK = AddingProblem()


class Adder(nn.Module):
    """A mixer between two linear maps: a number is read from its last output.

    Args:
        mixer: a name, or `{"name": ..., option: value}`.
        dim: features the mixer reads.
    """

    def __init__(self, mixer: str | Mapping[str, Any], *, dim: int):
        super().__init__()
        self.read = nn.Linear(TASK.features, dim)
        self.mixer = mixers.build(mixer if isinstance(mixer, str) else dict(mixer), dim)
        if not isinstance(self.mixer, Mixer):
            raise ValueError(f"{mixer} reads the whole sequence before it answers: no adder")
        self.answer = nn.Linear(self.mixer.out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, time, 2) to (batch,)."""
        y, _ = self.mixer(self.read(x))
        return self.answer(y[:, -1])[:, 0]


def learn_sums(
    adder: nn.Module,
    *,
    length: int,
    steps: int,
    learning_rate: float = 2e-3,
    batch: int = 64,
    seed: int = 0,
) -> list[float]:
    """Train on the adding problem by Adam; return the squared error before each step.

    Args:
        adder: maps (batch, time, 2) to (batch,).
        length: numbers of each example.
        steps: of training.
        learning_rate: of all steps.
        batch: examples of a step.
        seed: of the examples.
    """
    generator, losses = torch.Generator().manual_seed(2 * seed), []
    optimizer = torch.optim.Adam(adder.parameters(), lr=learning_rate)
    for _ in range(steps):
        x, target = TASK.draw(batch, length, generator)
        optimizer.zero_grad()
        loss = (adder(x) - target).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(adder.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def first_below(losses: Sequence[float], bound: float, *, window: int = 20) -> int:
    """Return how many steps there are before the first window whose mean loss is below a bound.

    All, where there is none.

    Args:
        losses: of each step, some.
        bound: which the mean is to be below.
        window: how many steps are averaged; all, where there are fewer.
    """
    means = torch.tensor(losses).unfold(0, min(window, len(losses)), 1).mean(1)
    below = (means < bound).nonzero().flatten().tolist()
    return below[0] if below else len(losses)


def squared_error(adder: nn.Module, *, length: int, rows: int = 2000, seed: int = 0) -> float:
    """Return the mean square of the error on examples that `learn_sums` did not draw."""
    x, target = TASK.draw(rows, length, torch.Generator().manual_seed(2 * seed + 1))
    with torch.no_grad():
        return (adder(x) - target).square().mean().item()
