"""Teaching a small stack to tell digits read dot by dot, and asking it.

right = learned_digits(lambda: LRU(64), *digits.read(), dim=64, steps=500)
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.analysis.learning import minimize
from statewise.mixers.base import Mixer
from statewise.models.stack import Block, Stack
from statewise.tasks import digits
from statewise.tasks.digits import Digits


class Reader(nn.Module):
    """Layers between vectors and what is answered after each.

    Args:
        features: of the vectors.
        layers: each has a norm before it, and a way around it.
        answers: how many numbers.
    """

    def __init__(self, features: int, layers: list[Mixer[Any]], answers: int):
        super().__init__()
        self.enter = nn.Linear(features, layers[0].dim)
        self.stack = Stack([Block([layer]) for layer in layers])
        self.answer = nn.Linear(layers[-1].out, answers)

    def forward(self, x: Float[Tensor, "batch time features"]) -> Tensor:
        """Map (batch, time, features) to (batch, time, answers)."""
        return self.answer(self.stack(self.enter(x))[0])


def learned_digits(
    layer: Callable[[], Mixer[Any]],
    seen: Digits,
    held_out: Digits,
    **options: Any,
) -> float:
    """Return how often a fresh reader is right about held-out digits, after it learned from others.

    Args:
        layer: makes one.
        seen: what is learned from.
        held_out: what is asked.
        options: of `taught`.
    """
    return right(taught(layer, seen, **options), held_out)


def taught(
    layer: Callable[[], Mixer[Any]],
    seen: Digits,
    *,
    depth: int = 2,
    batch: int = 64,
    seed: int = 0,
    **options: Any,
) -> Reader:
    """Return a fresh reader that learned from digits, in eval mode.

    Args:
        layer: makes one.
        seen: what is learned from.
        depth: layers.
        batch: digits of a step.
        seed: of the order of the digits; weights come from torch's own generator.
        options: of `minimize`.
    """
    made = [layer() for _ in range(depth)]
    model = Reader(seen.inputs.shape[-1], made, digits.CLASSES)
    generator = torch.Generator().manual_seed(seed)

    def cost(_: float) -> Tensor:
        drawn = digits.draw(seen, batch, generator)
        return digits.loss(model(drawn.inputs), drawn)

    minimize(model, cost, **options)
    return model.eval()


@torch.no_grad()
def right(model: Reader, asked: Digits) -> float:
    """Return how often a reader is right after the last dot."""
    return digits.accuracy(model(asked.inputs), asked)
