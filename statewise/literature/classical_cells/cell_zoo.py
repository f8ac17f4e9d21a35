"""A zoo of cells behind one interface: 28 obey the same laws and learn, each with its own formula.

torchrecurrent and RecurrentLayers.jl, 2025, packages of recurrent cells for PyTorch and Julia; the
first 25 are cells of theirs, and behind them stand Elman's network, the GRU and the LSTM.

Recipe   each cell, built by its name: whether feeding inputs one by one, starting afresh at a
         reset, a state dict that is loaded and gradients beside differences break a law of
         `statewise.testing`; whether it has as many parameters as its equations; and 200 steps of
         the adding problem with ten numbers.
Weak     learning means no more than in the claim: to answer 1 always would do. The last column
         says who did better than that; at seeds 100 and 101 coRNN, UnICORNN and the gated
         antisymmetric network did not, whose time steps are for longer sequences. Nobody is ranked.
"""

from collections.abc import Sequence

import torch

from statewise import mixers
from statewise.analysis.adding import TASK, Adder, learn_sums, squared_error
from statewise.literature.paper import Budget, Check, Claim
from statewise.testing import (
    DTYPES,
    TIMES,
    Law,
    LawBroken,
    a_reset_is_a_fresh_start,
    gradients_are_right,
    hold,
    state_dict_round_trips,
    steps_equal_forward,
)

PAPER = 90
DIM, LENGTH, STEPS = 32, 10, 200
LAWS = (
    steps_equal_forward,
    a_reset_is_a_fresh_start,
    state_dict_round_trips,
    gradients_are_right,
)
BROKEN, MORE = "laws broken", "parameters beside the formula's"
FALL, CONSTANT = f"error after {STEPS} steps, by that before", "by that of answering 1"

FORMULAS = {
    "antisymmetric_rnn": (2, 1, 0),
    "atr": (2, 1, 0),
    "brc": (3, 4, 0),
    "nbrc": (5, 2, 0),
    "cfn": (5, 2, 0),
    "cornn": (3, 1, 0),
    "fast_rnn": (2, 1, 2),
    "fast_grnn": (2, 2, 2),
    "gated_antisymmetric_rnn": (3, 2, 0),
    "indrnn": (1, 2, 0),
    "janet": (4, 2, 0),
    "lem": (8, 4, 0),
    "ligru": (4, 4, 0),
    "mgu": (4, 2, 0),
    "minimal_rnn": (3, 2, 0),
    "multiplicative_lstm": (10, 4, 0),
    "mut": (4, 3, 0),
    "nas_cell": (16, 0, 0),
    "peephole_lstm": (8, 7, 0),
    "ran": (5, 2, 0),
    "rhn": (8, 6, 0),
    "scrn": (4, 0, 0),
    "star": (3, 2, 0),
    "ugrnn": (4, 2, 0),
    "unicornn": (1, 3, 0),
    "elman": (2, 2, 0),
    "gru": (6, 6, 0),
    "lstm": (8, 8, 0),
}
"""Matrices, vectors and single numbers in a cell's equations, where all widths are the same."""

RECIPES = {name: name for name in FORMULAS}

CLAIM = Claim(
    "Each of 28 cells obeys the laws of steps, resets, state dicts and gradients, has as many "
    "parameters as its equations, and a lower error on the adding problem after 200 steps.",
    tuple(
        check
        for name in RECIPES
        for check in (
            Check(f"{name} obeys the laws", (name, BROKEN), "<=", 0.0),
            Check(f"{name} has the formula's parameters", (name, MORE), "<=", 0.0),
            Check(f"{name} lowers its error", (name, FALL), "<=", 1.0),
        )
    ),
)


def measure(recipe: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return what is wrong with a cell, and how far its error falls."""
    adder = Adder(recipe, dim=DIM)
    matrices, vectors, numbers = FORMULAS[recipe]
    count = sum(parameter.numel() for parameter in adder.mixer.parameters())
    before = squared_error(adder, length=LENGTH, seed=seed)
    learn_sums(adder, length=LENGTH, steps=budget.steps(STEPS), learning_rate=5e-3, seed=seed)
    after = squared_error(adder, length=LENGTH, seed=seed)
    return {
        BROKEN: float(broken(recipe, budget, seed)),
        MORE: float(abs(count - matrices * DIM**2 - vectors * DIM - numbers)),
        FALL: after / before,
        CONSTANT: after / TASK.baseline,
    }


def broken(name: str, budget: Budget, seed: int) -> int:
    """Return how many laws a cell breaks, in float64 or in float32."""
    tried, times = [(law, dtype) for law in LAWS for dtype in DTYPES], TIMES
    if budget is Budget.smoke:
        tried, times = tried[:1], times[:2]
    return sum(_breaks(name, law, dtype, times, seed) for law, dtype in tried)


def _breaks(name: str, law: Law, dtype: torch.dtype, times: Sequence[int], seed: int) -> bool:
    try:
        hold(law, lambda: mixers.build(name, 4), dtype, times=times, seed=seed)
    except LawBroken:
        return True
    return False
