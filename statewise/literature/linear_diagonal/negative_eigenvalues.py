"""Negative eigenvalues: gates from -1 to 1 keep parity at any length, gates from 0 to 1 cannot.

Grazzi et al., "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues", 2024,
arXiv:2411.12537, section 5.1.

Recipe   one layer of Gated DeltaNet or DeltaNet, with either range of its eigenvalues, trained on
         parities of up to 40 bits.
Weak     parity alone, one layer, one learning rate; the paper also has modular arithmetic and text.
"""

from collections.abc import Mapping
from typing import Any

from statewise.analysis.learning import learned_by_length
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.tasks.parity import Parity

PAPER = 33
TASK, LENGTH = Parity(), 40
LONG = "at 200"

CLAIM = Claim(
    "At five times the training length a layer whose eigenvalues may be negative still keeps "
    "parity, and one whose eigenvalues are positive is at chance.",
    tuple(
        check
        for name in ("delta_net", "gated_delta_net")
        for check in (
            Check(f"{name} from -1 to 1 keeps parity", (f"{name}, -1 to 1", LONG), ">=", 0.95),
            Check(f"{name} from 0 to 1 is near chance", (f"{name}, 0 to 1", LONG), "<=", 0.6),
        )
    ),
)

RECIPES = {
    f"{name}, {low} to 1": {"name": name, "negative_eigenvalues": low < 0}
    for name in ("delta_net", "gated_delta_net")
    for low in (-1, 0)
}


def measure(recipe: Mapping[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right, within the training length and beyond."""
    asked, steps = (LENGTH, 2 * LENGTH, 5 * LENGTH), budget.steps(1500)
    return at(learned_by_length(recipe, TASK, asked, length=LENGTH, steps=steps, seed=seed))
