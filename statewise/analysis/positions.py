"""What each token of a text costs a model, by how much of the text it has read before."""

import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from statewise.analysis import pictures

NATS = {"nats": 1.0, "bits": math.log(2)}
"""Nats in a unit."""

POINTS = 24
"""Groups of neighbouring positions that a plot has for each factor of ten, at most."""


@runtime_checkable
class Predictor(Protocol):
    """What is asked of a model here."""

    def __call__(self, tokens: Int[Tensor, "batch time"], /) -> tuple[Tensor, Any]:
        """Return the logits of each next token, (batch, time, vocab), and the state."""
        ...


@torch.no_grad()
def loss_by_position(
    model: Predictor,
    tokens: Int[Tensor, "batch time"],
    *,
    unit: Literal["nats", "bits"] = "nats",
) -> Float[Tensor, " positions"]:
    """Return the mean cost over rows of token t, after the t tokens before it, for t = 1 and on.

    The first token has nothing before it and no cost here, so that there are time - 1 positions. A
    model whose memory reaches far pays less and less; one that was trained on short texts may pay
    more beyond their length.

    Args:
        model: in eval mode.
        tokens: as many rows as there are: the spread of a mean over n rows falls with sqrt(n).
        unit: per token.

    Raises:
        ValueError: for another unit, or fewer than two tokens.
    """
    if unit not in NATS:
        raise ValueError(f"unit = {unit!r} should be one of {', '.join(NATS)}")
    if not len(tokens) or tokens.shape[1] < 2:
        raise ValueError(f"tokens {tuple(tokens.shape)} should have a row and at least two tokens")
    logits, _ = model(tokens)
    cost = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
    )
    return cost.unflatten(0, (len(tokens), -1)).double().mean(0) / NATS[unit]


def plot_positions(
    named: Mapping[str, Float[Tensor, " positions"]],
    *,
    unit: Literal["nats", "bits"] = "nats",
    trained: int | None = None,
) -> bytes:
    """Return a PNG of cost by position, each point the mean over neighbouring positions.

    Args:
        named: what `loss_by_position` returned, in one unit.
        unit: that one.
        trained: tokens of a text in training, drawn as an upright line.

    Raises:
        ImportError: if matplotlib is missing.
    """
    height = pictures.tall(len(named))
    curves = {name: _grouped(cost.cpu().double().numpy()) for name, cost in named.items()}

    def draw(axes: Any) -> None:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("tokens read before (means over neighbouring places)", fontsize=10)
        axes.set_ylabel(f"cost of a token ({unit})", fontsize=10)
        pictures.lines(axes, curves)
        if trained is not None:
            pictures.upright(axes, trained, f"trained on {trained:,}")
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)


def _grouped(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the mean of groups that grow with the position."""
    count = len(cost)
    wanted = np.geomspace(1, count + 1, 1 + max(1, round(POINTS * math.log10(count + 1))))
    edges = np.unique(np.round(wanted).astype(int)) - 1
    sums = np.add.reduceat(cost, edges[:-1])
    middles = (edges[:-1] + edges[1:] + 1) / 2
    return middles, sums / np.diff(edges)
