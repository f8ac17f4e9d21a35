"""Back-propagation of random reach: how much a step reads, and where gradients are cut.

The tokens of a step may vary (Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language
Models", 2017, arXiv:1708.02182, section 4.1), so that no token is always the first of its step:

    base = context, or context / 2 with a chance of `context_halved`
    length ~ normal(base, context_deviation)
    learning rate * length / context

Within a step, the ends of pieces may be cut at random (Tallec and Ollivier, "Unbiasing Truncated
Backpropagation Through Time", 2017, arXiv:1705.08209, section 3): each is cut with a chance of c,
and a gradient that passes one which is not is multiplied by 1 / (1 - c). Its mean over all cuts is
the gradient of the whole step; where c is 1, all are cut, which is the usual truncation.
"""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise.training.configuration import LanguageRun

LENGTHS, CUTS = 1, 2
"""What is drawn, so that one of them does not follow the other."""


def length(config: LanguageRun, step: int) -> int:
    """Return how many tokens each stream reads at a step: from 1 to twice the context.

    The seed and the step decide it.
    """
    if not (config.context_deviation or config.context_halved):
        return config.context
    draw = np.random.default_rng([config.seed, step, LENGTHS])
    base = config.context * (0.5 if draw.random() < config.context_halved else 1.0)
    drawn = round(draw.normal(base, config.context_deviation))
    return min(max(drawn, 1), 2 * config.context)


def cuts(config: LanguageRun, step: int, pieces: int) -> list[bool]:
    """Return at the end of which pieces of a step gradients are cut: always at the last.

    The seed and the step decide it, so that all processes cut at the same places.
    """
    draw = np.random.default_rng([config.seed, step, CUTS])
    drawn = draw.random(pieces - 1) < config.truncation_chance
    return [*drawn.tolist(), True]


class _Amplified(torch.autograd.Function):
    """The number itself, with a gradient that is multiplied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Inexact[Tensor, "..."]) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def amplified(state: Any, factor: float) -> Any:
    """Return a state with the same numbers, whose gradient is multiplied by `factor`."""

    def amplify(leaf: Tensor) -> Tensor:
        return cast(Tensor, _Amplified.apply(leaf, factor)) if leaf.requires_grad else leaf

    return tree_map(amplify, state)
