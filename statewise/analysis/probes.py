"""What single units and whole states tell of labels: correlation, ranking, a linear probe.

    scores = units_of(visited(model, tokens, leaf=...), labels)
    scores.correlation, scores.auc                 a number for each unit
    linear_probe(states, labels)                   what all of them tell together, held out

A label belongs to a place: whether it is inside a quote, how deep its brackets are, how far it is
in its line. Karpathy, Johnson and Li, "Visualizing and Understanding Recurrent Networks", 2015,
arXiv:1506.02078, section 4.1, look for cells that follow such a label alone.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from statewise.analysis.readout import Ridge


class UnitScores(NamedTuple):
    """What each unit tells of a label on its own."""

    correlation: Float[Tensor, " units"]
    """Pearson's, from -1 to 1; 0 for a unit that never moves."""
    auc: Float[Tensor, " units"]
    """The chance that it is higher where the label is above its mean than where not, ties half: 1/2
    tells nothing, 0 as much as 1."""


def units_of(
    states: Float[Tensor, "batch time *units"],
    labels: Shaped[Tensor, "rows times"],
    where: Bool[Tensor, "batch time"] | None = None,
) -> UnitScores:
    """Return what each unit tells of a label.

    Args:
        states: units of each row, after each input; several axes of them are taken as one.
        labels: numbers, or whether something holds, for each row and time.
        where: places that count; all if absent.

    Raises:
        ValueError: if the label is the same everywhere.
    """
    units, label = _chosen(states, labels, where)
    if not len(label) or bool((label == label[0]).all()):
        raise ValueError(f"labels {tuple(labels.shape)} are the same wherever they count")
    moved, asked = units - units.mean(0), label - label.mean()
    scale = moved.square().sum(0).sqrt() * asked.square().sum().sqrt()
    moves = (units != units[0]).any(0)
    correlation = torch.where(moves, (moved * asked[:, None]).sum(0) / scale, 0)
    return UnitScores(correlation, _auc(units, label > label.mean()))


def by_position(
    states: Float[Tensor, "batch time *units"],
    labels: Shaped[Tensor, "rows times"],
) -> Float[Tensor, "time units"]:
    """Return the correlation of each unit with a label over rows, at each time by itself.

    It is NaN at times when all rows have one label.
    """
    rows, states = [], states.flatten(2)
    for t in range(labels.shape[1]):
        same = bool((labels[:, t] == labels[0, t]).all())
        nothing = torch.full(states.shape[2:], torch.nan, dtype=torch.float64)
        here = slice(t, t + 1)
        rows.append(nothing if same else units_of(states[:, here], labels[:, here]).correlation)
    return torch.stack(rows) if rows else torch.zeros(0, states.shape[2], dtype=torch.float64)


class Probe(NamedTuple):
    """What a linear readout of all units tells of a label on rows that it was not fitted to."""

    explained: float
    """The share of the label's variance that is explained: 1 is all, 0 as much as a constant."""
    accuracy: float
    """How often the readout is on the label's side of the middle between its least and greatest."""


def linear_probe(
    states: Float[Tensor, "batch time *units"],
    labels: Shaped[Tensor, "rows times"],
    where: Bool[Tensor, "batch time"] | None = None,
    *,
    penalty: float = 1e-3,
) -> Probe:
    """Return how well a ridge readout of states, fitted to half of the rows, tells the others.

    Args:
        states: units of each row, after each input; several axes of them are taken as one. Two rows
            at least.
        labels: numbers, or whether something holds, for each row and time.
        where: places that count; all if absent.
        penalty: of the readout's weights.

    Raises:
        ValueError: for one row, or labels of the other rows that are the same everywhere.
    """
    half = len(states) // 2
    counted = torch.ones(labels.shape, dtype=torch.bool) if where is None else where
    seen, seen_label = _chosen(states[:half], labels[:half], counted[:half])
    asked, label = _chosen(states[half:], labels[half:], counted[half:])
    if not len(seen_label) or not len(label) or bool((label == label[0]).all()):
        raise ValueError(
            f"labels {tuple(labels.shape)} should count in both halves of the rows, and differ in "
            "the second"
        )
    ridge = Ridge(seen.shape[1], 1, penalty=penalty)
    ridge.add(seen[None], seen_label[None, :, None])
    with torch.no_grad():
        told = ridge.fit(dtype=torch.float64)(asked)[:, 0]
    lost = (told - label).square().mean() / (label - label.mean()).square().mean()
    middle = (label.min() + label.max()) / 2
    return Probe(1 - float(lost), ((told > middle) == (label > middle)).double().mean().item())


def _chosen(
    states: Tensor, labels: Tensor, where: Tensor | None
) -> tuple[Float[Tensor, "places units"], Float[Tensor, " places"]]:
    """Return units and labels of the places that count, in float64."""
    if states.shape[:2] != labels.shape:
        raise ValueError(
            f"states {tuple(states.shape)} and labels {tuple(labels.shape)} should be of the same "
            "rows and times"
        )
    counted = torch.ones(labels.shape, dtype=torch.bool) if where is None else where
    return states.flatten(2)[counted].detach().double().cpu(), labels[counted].double().cpu()


def _auc(
    units: Float[Tensor, "places units"], high: Bool[Tensor, " places"]
) -> Float[Tensor, " units"]:
    """Return Mann and Whitney's statistic of each unit, from ranks in which equal ones share."""
    found = []
    for unit in units.unbind(1):
        _, which, times = unit.unique(return_inverse=True, return_counts=True)
        last = times.cumsum(0).double()
        ranks = (last - (times - 1) / 2)[which]
        positive, negative = int(high.sum()), int((~high).sum())
        above = ranks[high].sum() - positive * (positive + 1) / 2
        found.append(above / (positive * negative))
    return torch.stack(found) if found else torch.zeros(0, dtype=torch.float64)
