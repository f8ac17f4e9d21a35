"""Which options of a random search its scores hang on: functional analysis of variance.

    f(x) = f_0 + sum_i f_i(x_i) + sum_ij f_ij(x_i, x_j) + ...       with means 0 and no covariance

    shares = variance_shares(tried, scores, bounds)
    shares["learning_rate",], shares["hidden", "learning_rate"]

The share of a set of options is the variance of its f over the variance of all. f is a random
forest fitted to what was tried, each tree of which is constant on boxes, so that its means are sums
and nothing is sampled. Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing
Hyperparameter Importance", ICML 2014, sections 3 and 4.

The forest is scikit-learn's. Optuna's evaluator of that name has single options alone, and the
package of its authors is no longer kept: the sums are ours.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np


def variance_shares(
    tried: Mapping[str, Sequence[float | int]],
    scores: Sequence[float | int],
    bounds: Mapping[str, tuple[float | int, float | int]],
    *,
    interactions: int = 2,
    trees: int = 64,
    seed: int = 0,
) -> dict[tuple[str, ...], float]:
    """Return the share of each option, and of each few of them, in the variance of the scores.

    Args:
        tried: the values of each option, one for each score: logarithms where the search drew them
            so, and 0, 1, ... for choices.
        scores: what was measured.
        bounds: from where to where each option was drawn, evenly: (-0.5, n - 0.5) for n choices.
        interactions: the most options whose effect together is looked for.
        trees: of the forest; shares are means over them.
        seed: of the forest.

    Returns:
        Shares from 0 to 1 by the names of options, in alphabetical order; all of all interactions
        would add up to 1.

    Raises:
        ImportError: if scikit-learn is missing.
        ValueError: if lengths differ, names do, a value is out of bounds, or no tree divides.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
    except ImportError:
        raise ImportError("the forest is scikit-learn's: pip install 'statewise[tasks]'") from None
    names = sorted(tried)
    if names != sorted(bounds):
        raise ValueError(f"tried has {names} and bounds have {sorted(bounds)}: they should agree")
    if any(len(tried[name]) != len(scores) for name in names) or len(scores) < 2:
        raise ValueError(f"each of {names} should have a value for each of {len(scores)} scores")
    for name in names:
        low, high = bounds[name]
        if not low < high or min(tried[name]) < low or max(tried[name]) > high:
            raise ValueError(
                f"{name} was tried from {min(tried[name])} to {max(tried[name])}, outside its "
                f"bounds {low} and {high}"
            )
    X = np.stack([_even(tried[name], *bounds[name]) for name in names], 1)
    forest = RandomForestRegressor(trees, random_state=seed)
    forest.fit(X, np.asarray(scores, dtype=float))
    found = [shares_of_tree(tree.tree_, len(names), interactions) for tree in forest.estimators_]
    known = [shares for shares in found if shares is not None]
    if not known:
        raise ValueError("no tree tells any scores apart: they are all the same")
    return {
        tuple(names[i] for i in chosen): float(np.mean([shares[chosen] for shares in known]))
        for chosen in known[0]
    }


def _even(values: Sequence[float | int], low: float | int, high: float | int) -> np.ndarray:
    """Return values as shares of the way from low to high."""
    return (np.asarray(values, dtype=float) - low) / (high - low)


Shares = dict[tuple[int, ...], float]
"""The share of each few options, by their numbers."""


def shares_of_tree(tree: Any, options: int, interactions: int) -> Shares | None:
    """Return the shares of a tree over the unit cube, or None where it is constant.

    Args:
        tree: scikit-learn's arrays of one.
        options: how many there are.
        interactions: the most options that are looked at together.
    """
    low, high, values = _boxes(tree, options)
    widths = high - low
    volumes = widths.prod(1)
    mean = float(volumes @ values)
    whole = float(volumes @ (values - mean) ** 2)
    if whole <= 1e-12 * max(1.0, mean**2):
        return None
    variances: dict[tuple[int, ...], float] = {}
    for size in range(1, interactions + 1):
        for chosen in combinations(range(options), size):
            least = sum(v for few, v in variances.items() if set(few) < set(chosen))
            variances[chosen] = _second_moment(low, high, values - mean, chosen) - least
    return {chosen: max(0.0, v) / whole for chosen, v in variances.items()}


def _second_moment(
    low: np.ndarray, high: np.ndarray, values: np.ndarray, chosen: tuple[int, ...]
) -> float:
    """Return the mean square, over the chosen options, of the mean over all others."""
    widths = high - low
    others = [i for i in range(low.shape[1]) if i not in chosen]
    weights = values * widths[:, others].prod(1)
    # Two boxes are both met by so much of the chosen options as they overlap in.
    overlap = np.ones((len(values), len(values)))
    for i in chosen:
        first = np.maximum(low[:, None, i], low[None, :, i])
        last = np.minimum(high[:, None, i], high[None, :, i])
        overlap *= np.clip(last - first, 0, None)
    return float(weights @ overlap @ weights)


def _boxes(tree: Any, options: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the box of each leaf, from where to where, and its value."""
    found: list[tuple[np.ndarray, np.ndarray, float]] = []
    waiting = [(0, np.zeros(options), np.ones(options))]
    while waiting:
        node, low, high = waiting.pop()
        left, right = tree.children_left[node], tree.children_right[node]
        if left == right:
            found.append((low, high, float(tree.value[node].ravel()[0])))
            continue
        option, threshold = tree.feature[node], tree.threshold[node]
        below, above = high.copy(), low.copy()
        below[option], above[option] = threshold, threshold
        waiting += [(left, low, below), (right, above, high)]
    lows, highs, values = zip(*found, strict=True)
    return np.stack(lows), np.stack(highs), np.array(values)
