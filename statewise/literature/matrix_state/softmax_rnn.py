"""Softmax attention is a sum of recurrences, of which linear attention is the first.

"On the Expressiveness of Softmax Attention: A Recurrent Neural Network Perspective", 2025,
arXiv:2507.23632.

    exp(s) = 1 + s + s^2 / 2 + ...,  s = q . k:  a state of k (x) k (x) ... v^T for each power

Recipe   the recurrence of all powers to an order beside attention with the truncated series, and
         that beside softmax, on noise of eight features; then linear attention, the second order
         and softmax learn text, of equal width, and softmax whose answers are divided by their
         length (the root of their mean square) in place of the sum of the weights.
Weak     two denominators of the paper's; one small text and learning rate; and features of elu in
         place of the series to the first power, whose weights may be negative.

Tried before this was committed, at seeds 100 and 101: linear attention paid 2.290 and 2.275 bits a
byte, the second order 2.285 and 2.263, softmax 2.273 and 2.264, and 2.299 and 2.297 by length. So
softmax and the second order are not told apart at this size; the claim stays as it was put.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.analysis.learning import learned_bits
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers import Attention
from statewise.mixers.parts.norms import HeadNorm
from statewise.ops.linear_attention import normalized_linear_attention
from statewise.testing.agreement import distance

PAPER = 173
ROWS, TIME, WIDTH, ORDERS = 4, 64, 8, range(0, 11, 2)
FORMS, BITS = "error of recurrences to order 4", "bits per byte"
LEFT = "powers: distance from softmax"
SERIES, LENGTH = "the series", ("softmax by length", BITS)


def by_length(dim: int) -> Attention:
    """Return attention whose heads' answers have the same length, whatever their weights sum to."""
    mixer = Attention(dim, rotary=False)
    norm = HeadNorm(mixer.heads, dim // mixer.heads)
    # A length is divided by after the sum of the weights, so that the sum itself cancels.
    apart = nn.Unflatten(-1, (mixer.heads, -1)), norm, nn.Flatten(-2)
    mixer.add_module("output", nn.Sequential(*apart, mixer.output))
    return mixer


RECIPES: dict[str, Any] = {
    SERIES: None,
    "linear attention": {"name": "linear_attention"},
    "order 2": {"name": "based"},
    "softmax": {"name": "attention", "rotary": False},
    "softmax by length": by_length,
}

CLAIM = Claim(
    "Recurrences of Kronecker powers are truncated attention to 1e-6, the truncation vanishes with "
    "the order, and text is learned better by each: linear attention, order two, softmax; divided "
    "by its length softmax is within 2 percent of itself.",
    (
        Check("recurrences are the truncated form", (SERIES, FORMS), "<=", 1e-6),
        Check("ten powers are nearly softmax", (SERIES, f"at 10 {LEFT}"), "<=", 0.1),
        Check("and nearer than four", (SERIES, f"at 10 {LEFT}"), "<=", (SERIES, f"at 4 {LEFT}")),
        Check("two", ("order 2", BITS), "<=", ("linear attention", BITS), paired=True),
        Check("softmax", ("softmax", BITS), "<=", ("order 2", BITS), paired=True),
        Check("by length no worse", LENGTH, "<=", ("softmax", BITS), times=1.02, paired=True),
        Check("nor better", LENGTH, ">=", ("softmax", BITS), times=0.98, paired=True),
    ),
)


def measure(mixer: Any, budget: Budget, seed: int) -> dict[str, float]:
    """Return how near the series is, or the bits that a byte of unseen text costs."""
    if mixer is not None:
        options: Any = {"length": 128, "steps": budget.steps(500), "batch": 16, "seed": seed}
        return {BITS: learned_bits(mixer, **options)}
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, ROWS, TIME, WIDTH, dtype=torch.float64, generator=generator)
    q = q * WIDTH**-0.5
    whole = attended(torch.einsum("btd,bsd->bts", q, k).exp(), v)
    return {
        FORMS: max(distance(recurrent(q, k, v, n), truncated(q, k, v, n)) for n in (0, 2, 4)),
    } | at({n: distance(truncated(q, k, v, n), whole) for n in ORDERS}, LEFT)


def attended(weights: Float[Tensor, "rows to of"], v: Tensor) -> Tensor:
    """Return the causal average of values."""
    weights = weights.tril()
    return weights @ v / weights.sum(-1, keepdim=True)


def truncated(q: Tensor, k: Tensor, v: Tensor, order: int) -> Tensor:
    """Return attention with the exponential's series to an order in its place."""
    s = torch.einsum("btd,bsd->bts", q, k)
    return attended(sum((s**n / math.factorial(n) for n in range(order + 1)), s * 0), v)


def recurrent(q: Tensor, k: Tensor, v: Tensor, order: int) -> Tensor:
    """Return the same from states of Kronecker powers."""
    query, key = (torch.cat(powers(x, order), -1)[:, :, None] for x in (q, k))
    return normalized_linear_attention(query, key, v[:, :, None])[0][:, :, 0]


def powers(x: Tensor, order: int) -> list[Tensor]:
    """Return all Kronecker powers, divided so that products of two add up to the series."""
    found = [torch.ones_like(x[..., :1])]
    for n in range(1, order + 1):
        found.append((found[-1][..., :, None] * x[..., None, :]).flatten(-2) / n**0.5)
    return found
