"""DeltaProduct: two steps of the delta rule a token track permutations of three things; one cannot.

Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
2025, arXiv:2502.10297, section 5.1. A step is a reflection where its eigenvalue may be negative; a
token that turns three things around needs two of them.

Recipe   one layer between embeddings, trained on words over S3 of up to 24 permutations.
Weak     one group, one layer, one learning rate; the paper also has S4, A5 and S5, and text. The
         first record, after 1,500 steps, was undecided: at one seed two steps kept 0.926 in 96.
"""

from collections.abc import Mapping
from typing import Any

from statewise.analysis.learning import learned_by_length
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.tasks.group_words import GroupWords

PAPER = 21
TASK, LENGTH = GroupWords(), 24
LONG = f"at {4 * LENGTH}"

CLAIM = Claim(
    "One layer with two steps a token and eigenvalues from -1 to 1 tracks S3 at four times the "
    "training length; one step a token, or eigenvalues from 0 to 1, does not reach 0.6 there.",
    (
        Check("two steps track S3", ("two steps, -1 to 1", LONG), ">=", 0.95),
        Check("one step does not", ("one step, -1 to 1", LONG), "<=", 0.6),
        Check("two steps that cannot reflect do not", ("two steps, 0 to 1", LONG), "<=", 0.6),
    ),
)


def delta(steps: int, reflects: bool) -> dict[str, Any]:
    """Return the specification of the mixer."""
    return {
        "name": "delta_product",
        "steps": steps,
        "negative_eigenvalues": reflects,
        "heads": 4,
    }


RECIPES = {
    "two steps, -1 to 1": delta(2, True),
    "two steps, 0 to 1": delta(2, False),
    "one step, -1 to 1": delta(1, True),
    "one step, 0 to 1": delta(1, False),
}


def measure(recipe: Mapping[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right, within the training length and beyond."""
    asked, steps = (LENGTH, 2 * LENGTH, 4 * LENGTH), budget.steps(2500)
    return at(learned_by_length(recipe, TASK, asked, length=LENGTH, steps=steps, seed=seed))
