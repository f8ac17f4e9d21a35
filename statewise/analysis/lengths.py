"""How right a model is at lengths that it was not trained on.

found = extrapolation(model, Parity(), [32, 64, 128, 256])
Path("parity.png").write_bytes(plot_extrapolation({"lstm": found}, trained=32, chance=1 / 2))
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from statewise.analysis import pictures
from statewise.analysis.positions import Predictor
from statewise.tasks.examples import Examples, Source


class Score(NamedTuple):
    """How a model did on examples of one length."""

    length: int
    accuracy: float
    """The share of right answers among those that count."""
    nats: float
    """The mean cost of an answer that counts."""


def extrapolation(
    model: Predictor,
    task: Source,
    lengths: Sequence[int],
    *,
    rows: int = 256,
    batch: int = 64,
    seed: int = 0,
) -> list[Score]:
    """Return how a model does on examples of each length.

    Args:
        model: in eval mode.
        task: what draws the examples.
        lengths: tokens of an example; what the task can draw.
        rows: examples of each length.
        batch: examples read at once.
        seed: of the examples: the same for all models, and for each length by itself.

    Raises:
        ValueError: for numbers out of range, and what the task refuses.
    """
    for name, value in {"rows": rows, "batch": batch}.items():
        if value < 1:
            raise ValueError(f"{name} = {value} should be at least 1")
    found = []
    for length in lengths:
        generator = torch.Generator().manual_seed(seed)
        sums = torch.zeros(3, dtype=torch.float64)
        for done in range(0, rows, batch):
            sums += answered(model, task.draw(min(batch, rows - done), length, generator))
        found.append(Score(length, (sums[0] / sums[2]).item(), (sums[1] / sums[2]).item()))
    return found


@torch.no_grad()
def answered(model: Predictor, drawn: Examples) -> Float[Tensor, " three"]:
    """Return the right answers among those that count, their cost in nats, and how many they are.

    Raises:
        ValueError: if none counts.
    """
    if not drawn.mask.any():
        raise ValueError(f"no answer counts in the {len(drawn.tokens)} examples that were drawn")
    logits, _ = model(drawn.tokens)
    logits, targets = logits[drawn.mask].float(), drawn.targets[drawn.mask]
    right = (logits.argmax(-1) == targets).sum()
    cost = functional.cross_entropy(logits, targets, reduction="sum")
    return torch.tensor([right, cost, len(targets)], dtype=torch.float64)


def plot_extrapolation(
    named: Mapping[str, Sequence[Score]],
    *,
    trained: int | None = None,
    chance: float | int | None = None,
) -> bytes:
    """Return a PNG of accuracy by length, a line for each name.

    Args:
        named: what `extrapolation` returned.
        trained: the greatest length in training, drawn as an upright line.
        chance: the accuracy of guessing, drawn as a level line.

    Raises:
        ImportError: if matplotlib is missing.
    """
    height = pictures.tall(len(named))
    curves = {
        name: ([s.length for s in found], [100 * s.accuracy for s in found])
        for name, found in named.items()
    }

    def draw(axes: Any) -> None:
        lengths = [x for xs, _ in curves.values() for x in xs]
        pictures.by_length(axes, lengths, "length of an example (tokens)")
        axes.set_ylabel("answers that are right (percent)", fontsize=10)
        pictures.lines(axes, curves, marker=True)
        axes.set_ylim(-3, 103)
        if chance is not None:
            pictures.level(axes, 100 * chance, f"chance {chance:.0%}")
        if trained is not None:
            pictures.upright(axes, trained, f"trained up to {trained:,}")
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)
