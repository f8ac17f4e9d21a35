"""Gated linear attention: gates that read the input copy well beyond the length of training.

Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", 2023,
arXiv:2312.06635, sections 3.2 and 4.

Recipe   two layers of 64, each behind a convolution of four taps, learn to copy four symbols
         scattered over up to 28 places, and are asked of them over 252 at most. Without decay it is
         the same layer at a temperature that leaves its gates at one; the fixed decay is retention.
         Each number is the mean of three stacks that start and learn apart: without decay one
         copies 0.53 at four times the length and the next 0.99.
         Apart from that, 64 steps with gates from 1e-4 to 1, by chunks with sums of logarithms, or
         as one chunk with products of gates and their reciprocals, beside the loop.
Weak     one task, two layers. Retention has four times as large a state and turns its keys. The
         paper has no convolutions. Tried at seeds 100 and 101 before: gates that are not softened
         were as good. Where pairs among noise are recalled instead, no decay was as good as gates
         (0.99; retention 0.84); without convolutions nothing bound them.

A first claim, of one stack a seed, asked no decay to lag behind at four times the length: recorded
as reproduced at seeds 0 to 2, undecided at 10 to 12. The gap opens with the length: at 10 to 12
gates copied 0.95 to 1.0 there, and 0.71 to 0.85 at eight times; no decay at 100 to 103 0.55, 0.70,
0.97 and 0.97, and 0.35, 0.43, 0.62 and 0.74. So it is asked at eight times, of three.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from statewise import backends
from statewise.analysis.learning import learned_by_length
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.ops.linear_attention import linear_attention
from statewise.tasks.selective_copying import SelectiveCopying

PAPER = 153
TASK, LENGTH = SelectiveCopying(items=4), 32
LONG, LONGER = f"at {4 * LENGTH}", f"at {8 * LENGTH}"
STARTS = 3
WITHIN = "answers within 1e-5 of the loop's"

CLAIM = Claim(
    "At four times the training length gated linear attention copies 85 in 100 symbols, and where "
    "it copies 10 a fixed decay copies 6 at most; at eight times it copies no fewer than without "
    "decay; the form by chunks is exact with gates down to 1e-4, where products of gates fail.",
    (
        Check("gates copy at four times the length", ("gates", LONG), ">=", 0.85),
        Check("no decay lags behind", ("no decay", LONGER), "<=", ("gates", LONGER)),
        Check("a fixed decay loses the order", ("fixed decay", LONG), "<=", ("gates", LONG), 0.6),
        Check("chunks are exact", ("chunks", WITHIN), ">=", 1.0),
        Check("products of gates are not", ("products of gates", WITHIN), "<=", 0.5),
    ),
)

RECIPES: Mapping[str, dict[str, Any]] = {
    "gates": {"name": "gla"},
    "no decay": {"name": "gla", "temperature": 1e6},
    "fixed decay": {"name": "retention"},
    "chunks": {"form": "chunks"},
    "products of gates": {"form": "products"},
}
"""A mixer that learns to copy, or a form that is held beside the loop."""


def measure(recipe: Mapping[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right by length, or the share of a form's that are exact."""
    if "form" in recipe:
        return {WITHIN: exact(recipe["form"], seed)}
    asked = (LENGTH, 2 * LENGTH, 4 * LENGTH, 8 * LENGTH)
    options: Any = {"first": 12, "length": LENGTH, "depth": 2, "steps": budget.steps(800)}
    starts = range(STARTS * seed, STARTS * (seed + 1))
    found = [learned_by_length(recipe, TASK, asked, seed=start, **options) for start in starts]
    return at({length: fmean(right[length] for right in found) for length in asked})


def exact(form: str, seed: int) -> float:
    """Return the share of answers that are the loop's, errors being over its largest answer."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 1, 64, 4, 16, generator=generator)
    log_decay = torch.rand(key.shape, generator=generator) * torch.tensor(1e-4).log()
    with backends.use("reference"):
        right, _ = linear_attention(query, key, value, log_decay=log_decay)
    if form == "chunks":
        with backends.use("torch"):
            found, _ = linear_attention(query, key, value, log_decay=log_decay)
    else:
        found = by_products(query, key, value, log_decay.exp().cumprod(1))
    # An answer that is not a number is within nothing.
    return float(((found - right).abs() <= 1e-5 * right.abs().max()).double().mean())


def by_products(query: Tensor, key: Tensor, value: Tensor, product: Tensor) -> Tensor:
    """Return the answers of one chunk, (batch, time, heads, value), as the equation is written."""
    scores = torch.einsum("bihk,bjhk->bhij", query * product, key / product)
    return torch.einsum("bhij,bjhv->bihv", scores.tril(), value)
