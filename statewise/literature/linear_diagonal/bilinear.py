"""Bilinear state transitions: what may act on the state, from signs to matrices, is what is solved.

Ebrahimi and Memisevic, "Revisiting Bi-Linear State Transitions in Recurrent Neural Networks", 2025,
arXiv:2505.21749: its hierarchy from real diagonal over rotations to full transitions.

Recipe   four transitions on three groups, one layer each, trained on words of up to 24 elements:
         parity, addition modulo 5 and S3, where the order of a word matters.
Weak     groups alone, one layer of 32. The diagonal ones are DeltaNet with keys of one number: it
         adds its input to the state, which the paper's transitions need not do.

What is right within the training length and guesses beyond has 0.625 of parity at four times it: at
most 0.7 is not to solve. Each learning rate is the better of 3e-3 and 1e-2 for what should be
solved, at seeds 100 and 101 and 500 to 1,000 steps: the signed diagonal learned parity surely with
the second alone, with which rotations were right for less long. With 8 heads and convolutions of
its own the signed diagonal once had 0.81. The first record, after 800 steps, was undecided by it:
it kept 0.81 to 0.965 of parities. At seeds 10 to 12 the claim is undecided by it again, and by
nothing else: 0.905 to 1.
"""

from collections.abc import Mapping
from typing import Any

from statewise.analysis.learning import learned_by_length
from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.group_words import GroupWords

PAPER = 75
LENGTH = 24
LONG = 4 * LENGTH
GROUPS = {"parity": "Z2", "addition modulo 5": "Z5", "S3": "S3"}


def diagonal(signed: bool) -> dict[str, Any]:
    """Return the specification of a real diagonal: of each head, one number decays."""
    return {"name": "delta_net", "heads": 4, "key": 4, "width": 1, "negative_eigenvalues": signed}


RECIPES = {
    "full bilinear": ({"name": "bilinear", "hidden": 16, "block": 16}, 3e-3),
    "rotations": ({"name": "rotation"}, 3e-3),
    "diagonal, -1 to 1": (diagonal(True), 1e-2),
    "diagonal, 0 to 1": (diagonal(False), 1e-2),
}
"""A mixer and its learning rate. Each solves one group fewer than that before it, the last none."""

CLAIM = Claim(
    "At four times the training length full transitions solve parity, addition modulo 5 and S3, "
    "rotations the first two, a diagonal from -1 to 1 parity alone and one from 0 to 1 nothing.",
    tuple(
        Check(f"{name} solves {group}", (name, group), ">=", 0.95)
        if place + solved < len(GROUPS)
        else Check(f"{name} does not solve {group}", (name, group), "<=", 0.7)
        for solved, name in enumerate(RECIPES)
        for place, group in enumerate(GROUPS)
    ),
)


def measure(recipe: tuple[Mapping[str, Any], float], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right at four times the training length, for each group."""
    mixer, learning_rate = recipe
    options: Any = {"steps": budget.steps(1600), "dim": 32, "learning_rate": learning_rate}
    return {
        group: learned_by_length(
            mixer, GroupWords.named(name), [LONG], length=LENGTH, seed=seed, **options
        )[LONG]
        for group, name in GROUPS.items()
    }
