"""Eleven linear mixers in one script: each reads at a cost that grows as the length does.

Patro and Agneeswaran, "Mamba-360: Survey of State Space Models as Transformer Alternative for Long
Sequence Modelling", 2024, arXiv:2404.16112.

Recipe   every mixer of the survey that the catalogue holds, and attention, each as wide as 20,000
         weights allow: how the seconds of a read grow from 1,024 to 8,192 inputs, and what two
         tasks of long inputs come to, digits of 8 x 8 read dot by dot and nested operations on
         lists, learned by one layer in 150 steps of 16 examples.
Weak     the tasks are the survey's long-range ones in small, and of three there are two: no paths
         are found in pictures. No inequality is about them, as none is in the survey's own words;
         the table is what it says. GSS, H3, Hyena and S4ND are not in the catalogue.

Tried before this was committed, on a machine that others used: by the clock attention had 2.06 and
2.03 and the steepest of the others 1.63 and 1.23 (seeds 100 and 101), where calls of 1 ms pass
between those of others and calls of 10 ms do not; by seconds of the processor alone 2.1, and 0.8 to
1.2 for all others. With 300 steps of learning a seed took three minutes.
"""

import math
from functools import partial
from typing import Any

import torch

from statewise import mixers
from statewise.analysis.learning import learned_by_length
from statewise.analysis.readers import learned_digits
from statewise.analysis.throughput import exponent, median_seconds
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import Mixer
from statewise.tasks import digits
from statewise.tasks.list_ops import ListOps

PAPER = 8
WEIGHTS, LENGTHS = 20_000, (1024, 2048, 4096, 8192)
ATTENTION = "attention"
STRUCTURED = ("s4", "dss", "s4d", "s5", "lru", "liquid_s4", "mega")
GATED = ("rwkv4", "retention", "mamba", "mamba2")
OWN, STEEPEST = "exponent of attention", "steepest exponent of the others"

RECIPES = {"costs": "", **{name: name for name in (ATTENTION, *STRUCTURED, *GATED)}}
ALONE = ("costs",)

CLAIM = Claim(
    "From 1,024 to 8,192 inputs the seconds of attention grow at least as the length to the power "
    "of 1.7, and those of every linear mixer at most as its power of 1.3.",
    (
        Check("attention", ("costs", OWN), ">=", 1.7),
        Check("all others", ("costs", STEEPEST), "<=", 1.3),
    ),
)


def measure(name: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return how costs grow, or what a mixer learned."""
    if not name:
        steepness = {name: steep(name, budget) for name in (ATTENTION, *STRUCTURED, *GATED)}
        return {OWN: steepness.pop(ATTENTION), STEEPEST: max(steepness.values())}
    dim = wide(name)
    options: Any = {"steps": budget.steps(150), "batch": 16, "seed": seed}
    right = learned_digits(lambda: built(name, dim), *digits.read(), depth=1, **options)
    lists = learned_by_length(name, ListOps(), [64], length=64, dim=dim, **options)
    return {"digits right": right, "lists right": lists[64], "weights": weights(name, dim)}


@torch.no_grad()
def steep(name: str, budget: Budget) -> float:
    """Return the exponent of the seconds that a read takes, by the length."""
    dim, lengths = wide(name), (64, 128) if budget is Budget.smoke else LENGTHS
    reads = (partial(built(name, dim), torch.randn(1, length, dim)) for length in lengths)
    return exponent(lengths, [median_seconds(read, least=3, seconds=0.2) for read in reads])


def wide(name: str) -> int:
    """Return the most features that a mixer can have with so many weights, in steps of 16."""
    return max(dim for dim in range(16, math.isqrt(WEIGHTS), 16) if weights(name, dim) <= WEIGHTS)


def weights(name: str, dim: int) -> float:
    """Return how many weights a mixer has, infinitely many where its heads do not divide `dim`."""
    try:
        return float(sum(weight.numel() for weight in built(name, dim).parameters()))
    except ValueError:
        return math.inf


def built(name: str, dim: int) -> Mixer[Any]:
    """Return a fresh mixer."""
    mixer = mixers.build(name, dim)
    assert isinstance(mixer, Mixer)
    return mixer
