"""Dynamical systems: linear attention and state-space models are one recurrence, by its matrices.

Sieber, Amo Alonso, Didier, Zeilinger and Orvieto, "Understanding the differences in Foundation
Models: Attention, State Space Models, and Recurrent Neural Networks", 2024, arXiv:2405.15731.

Recipe   runs of untrained layers are written as h_t = A_t h_{t-1} + b_t and answered from there;
         linear attention divided by the sum of its weights is written with that sum as a step and
         a decay, and with the decay S6 has at this step; one layer recalls 16 pairs with keys of so
         many numbers, divided by the sum, or sized by the input instead, as S6's step does.
Weak     one task, one learning rate, and forms of single layers. The sum reads the query, so that
         what stands for it does too. Keys of 128 recall all, whatever divides them.

Tried before this was committed, at seeds 100 and 101: keys of 16 recalled 0.87 and 0.48, too far
apart to compare with; keys of 8 0.41 and 0.24, of 32 0.99 and 0.75.
"""

from typing import Any

import torch

from statewise import mixers
from statewise.analysis.attention_as_recurrence import division, undivided
from statewise.analysis.learning import learned_by_length
from statewise.analysis.linear_form import apart_from_form
from statewise.literature.paper import Budget, Check, Claim
from statewise.ops.selective_scan import selective_scan
from statewise.tasks.multi_query_recall import MultiQueryRecall
from statewise.testing.agreement import distance

PAPER = 193
TASK, LENGTH = MultiQueryRecall(pairs=16, keys=32, answers=16), 64
APART, RECALLED = "a run apart from its matrices", "pairs recalled"
TIED, UNTIED = "apart from linear attention, by its own decay", "by S6's decay"


MATRICES = ("linear_attention", "gla", "simple_gla", "retention", "delta_net", "hgrn2")
NUMBERS = ("lru", "s4d", "s5", "mamba", "rg_lru", "min_gru")
LINEAR, OTHERS, S6 = "linear in the state", "not linear in it", "S6"
SMALL, MIDDLE, LARGE = (f"keys of {key}" for key in (8, 32, 128))
BY_INPUT = "keys of 128 that the input sizes"
RECIPES: dict[str, Any] = {
    LINEAR: (max, dict.fromkeys(MATRICES, "S") | dict.fromkeys(NUMBERS, "h")),
    OTHERS: (min, dict.fromkeys(("elman", "gru", "lstm"), "h")),
    S6: None,
    **{name: {"name": "linear_attention", "key": int(name[8:])} for name in (SMALL, MIDDLE, LARGE)},
    BY_INPUT: {"name": "linear_attention", "key": 128, "sized": True},
}

CLAIM = Claim(
    "Twelve layers answer to 1e-5 as their matrices do, and layers that are not linear in their "
    "state do not; divided linear attention is S6 where step and decay are its sums, and not with "
    "S6's decay; more recall comes with larger states, and no less where the input sizes keys.",
    (
        Check("matrices are the layer", (LINEAR, APART), "<=", 1e-5),
        Check("but for cells", (OTHERS, APART), ">=", 1e-5),
        Check("the division is a step and a decay", (S6, TIED), "<=", 1e-5),
        Check("and not S6's decay", (S6, UNTIED), ">=", 1e-5),
        Check("32 recall more than 8", (MIDDLE, RECALLED), ">=", (SMALL, RECALLED), plus=0.1),
        Check("sized no less", (BY_INPUT, RECALLED), ">=", (LARGE, RECALLED), plus=-0.02),
    ),
)


def measure(recipe: Any, budget: Budget, seed: int) -> dict[str, float]:
    """Return how far matrices are from layers, or how much a layer recalls."""
    if recipe is None:
        q, k, v = torch.rand(3, 2, 32, 8, dtype=torch.float64)
        weights, step = (q @ k.mT).tril(), division(q, k).step.expand_as(v)
        goal, A = weights @ v / weights.sum(-1, keepdim=True), -torch.ones_like(v[0, :8])
        by_s6, _ = selective_scan(v, step, A, k, q)
        return {TIED: distance(undivided(q, k, v), goal), UNTIED: distance(by_s6, goal)}
    if isinstance(recipe, tuple):
        worst, leaves = recipe
        layers: list[Any] = [mixers.catalogue()[name].example().double() for name in leaves]
        inputs = [3 * torch.randn(2, 32, layer.dim, dtype=torch.float64) for layer in layers]
        runs = zip(layers, inputs, leaves.values(), strict=True)
        return {APART: worst(apart_from_form(layer, x, leaf=leaf) for layer, x, leaf in runs)}
    options: Any = {"length": LENGTH, "first": LENGTH, "steps": budget.steps(1000), "seed": seed}
    return {RECALLED: learned_by_length(recipe, TASK, [LENGTH], **options)[LENGTH]}
