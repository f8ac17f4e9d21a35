"""Negative eigenvalues: a range from -1 to 1 tracks parity, swaps and counts; from 0 to 1 does not.

Grazzi et al., "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues", 2024,
arXiv:2411.12537, sections 4 and 5.1.

Recipe   the same layer with either range, trained on sequences of up to 40 symbols: a diagonal one
         on parity; DeltaNet on parity, on swaps of three things, each one reflection, and in two
         layers on counting modulo 3, where one reflection a symbol is too few.
Weak     small groups alone, one learning rate for each layer; the paper also has modular arithmetic
         with brackets and text. Within the training length an excluded layer learns a part by
         counting up, so that most are asked at five times that length; of swaps it learns less.

Seen at the first record: DeltaNet kept 93 in 100 parities at five times the length and the gates 89
to 100, where 95 were asked for; all else held but one bound that a seed passed by 0.03. At seeds
100 and 101 the same settings had kept 98 and more.

Tried before the claim was written: swaps, counting and parity at seed 100, and parity by gates at
seed 101 too; with a learning rate of 3e-3 and fewer steps they kept 87 in 100 at the longest.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statewise.analysis.learning import learned_by_length
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers.base import Cell
from statewise.tasks.group_words import GroupWords
from statewise.tasks.modular_counting import ModularCounting
from statewise.tasks.parity import Parity

PAPER = 33
LENGTH = 40
WITHIN, LONG = f"at {LENGTH}", f"at {5 * LENGTH}"


class GatesState(NamedTuple):
    """What gates remember."""

    h: Tensor


class Gates(Cell[GatesState]):
    """h_t = a_t * h_{t-1} + (1 - |a_t|) * (V x_t + b), with gates a_t from `low` to 1."""

    def __init__(self, dim: int, low: int):
        super().__init__()
        self.dim = self.out = dim
        self.low = low
        self.gate, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GatesState:
        """Return zeros."""
        return GatesState(torch.zeros(batch, self.out, device=device, dtype=dtype))

    def cell(self, x: Tensor, state: GatesState) -> tuple[Tensor, GatesState]:
        """Map one input."""
        a = self.low + (1 - self.low) * self.gate(x).sigmoid()
        h = a * state.h + (1 - a.abs()) * self.value(x)
        return h, GatesState(h)

    @classmethod
    def example(cls) -> "Gates":
        """Return a small instance."""
        return cls(4, low=-1)


LEARNED: Mapping[str, dict[str, Any]] = {
    "gates, parity": {"task": Parity(), "own": Gates, "learning_rate": 1e-2},
    "delta_net, parity": {"task": Parity()},
    "delta_net, swaps of three": {"task": GroupWords(moved=2)},
    "two of delta_net, modulo 3": {"task": ModularCounting(), "depth": 2},
}

RECIPES = {
    f"{name}, {low} to 1": (options, low) for name, options in LEARNED.items() for low in (-1, 0)
}

CLAIM = Claim(
    "Within the training length a layer whose eigenvalues may be negative solves all four, and "
    "parity at five times that length too; where they are positive, parity and counting are lost "
    "at that length, and swaps within the first.",
    (
        *(
            Check(f"{name} is learned", (f"{name}, -1 to 1", WITHIN), ">=", 0.95)
            for name in LEARNED
        ),
        *(
            Check(f"{name} is kept", (f"{name}, -1 to 1", LONG), ">=", 0.95)
            for name in ("gates, parity", "delta_net, parity")
        ),
        *(
            Check(f"{name} is lost", (f"{name}, 0 to 1", place), "<=", 0.6)
            for name in LEARNED
            for place in (WITHIN if "swaps" in name else LONG,)
        ),
    ),
)


def measure(recipe: tuple[dict[str, Any], int], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right, within the training length and beyond."""
    options, low = recipe
    mixer: Any = {"name": "delta_net", "negative_eigenvalues": low < 0}
    if own := options.get("own"):
        mixer = partial(own, low=low)
    return at(
        learned_by_length(
            mixer,
            options["task"],
            (LENGTH, 2 * LENGTH, 5 * LENGTH),
            length=LENGTH,
            steps=budget.steps(1500),
            depth=options.get("depth", 1),
            learning_rate=options.get("learning_rate", 3e-3),
            seed=seed,
        )
    )
