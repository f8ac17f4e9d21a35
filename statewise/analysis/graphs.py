"""Graphs of units without cycles: how long their ways are, and what that explains of results.

features = [features_of(mask) for mask in masks]
explained(features, accuracies)             the share of their variance, R squared

Stier and Granitzer, "Structural Analysis of Sparse Neural Networks", 2019, arXiv:1910.07225, look
so at what makes random structures good: properties of graphs, regressed on accuracies.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor


class Features(NamedTuple):
    """What a graph of units is like; links of a unit to itself are left out."""

    spread: float
    """The standard deviation of the links that units have, both ways together."""
    longest: int
    """Links of the longest way."""
    distance: float
    """Links of the shortest way from one unit to another, on average where there is one; 0 without
    any link."""


def features_of(mask: Bool[Tensor, "units inputs"]) -> Features:
    """Return what a graph is like.

    Args:
        mask: which units, in rows, read which units before them.

    Raises:
        ValueError: for a link from a later unit to an earlier one, or inputs that are no units.
    """
    if mask.shape[0] != mask.shape[1] or mask.triu(1).any():
        raise ValueError(f"mask {tuple(mask.shape)} should be square, zeros above its diagonal")
    links = mask.tril(-1)
    longest = [0] * len(links)
    for unit, row in enumerate(links.tolist()):
        longest[unit] = max((1 + longest[at] for at, linked in enumerate(row) if linked), default=0)
    reached, now, lengths, ways = torch.zeros_like(links), links, 0, 0
    for steps in range(1, len(links) + 1):
        now = now & ~reached
        lengths, ways = lengths + steps * int(now.sum()), ways + int(now.sum())
        reached = reached | now
        now = (links.float() @ now.float()) > 0
    degrees = (links.sum(0) + links.sum(1)).double()
    spread = float(degrees.std(correction=0)) if len(links) else 0.0
    return Features(spread, max(longest, default=0), lengths / max(ways, 1))


def explained(features: Sequence[Features], values: Sequence[float]) -> float:
    """Return the share of the variance of values that a linear function of features explains.

    Of few values some is explained by chance: of n by k features k / (n - 1) on average.

    Raises:
        ValueError: for another number of values than of graphs, or values that are all the same.
    """
    y = torch.tensor(values, dtype=torch.float64)
    if len(features) != len(y) or not len(y) or bool((y == y[0]).all()):
        raise ValueError(f"{len(y)} values of {len(features)} graphs should be as many, and differ")
    x = torch.tensor([[1.0, *row] for row in features], dtype=torch.float64)
    fitted = x @ torch.linalg.pinv(x) @ y
    return float(1 - (y - fitted).square().sum() / (y - y.mean()).square().sum())
