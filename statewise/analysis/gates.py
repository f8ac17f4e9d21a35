"""What gates let pass: how much of each number of the state a step keeps.

Mixers compute their gates inside, some of them in the core, and no two name them alike. What a
forget gate does is seen from outside: it is the diagonal of  d leaf_t / d leaf_{t-1},  the
derivative of each number by itself before the step, all other numbers held fixed.

    h_t = f_t * h_{t-1} + v_t               f_t itself, where neither f nor v reads h: min_gru's h,
                                            mamba's h, gla's S; also lstm's c, whose gates read h
    h_t = (1 - z_t) * n_t + z_t * h_{t-1}   of a gru: z_t, and what a unit says to itself by way of
                                            its gates and candidate: an effective gate, which may
                                            be negative or above 1
    S_t = S_{t-1} (I - beta k k^T) + ...    1 - beta k_j^2 of feature j of the key
    a shift register                        0: nothing stays where it was, and nothing is lost

So near 1 is kept, near 0 overwritten or moved on, negative turned over. Where the whole derivative
is diagonal, what several steps keep is the product. Input and output gates are not seen.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from statewise import state as states
from statewise.analysis import pictures
from statewise.analysis.jacobians import diagonal
from statewise.analysis.trajectories import Inputs, Recurrence, states_before

BINS = 40
"""Of the histogram."""


def retention(mixer: Recurrence, x: Inputs, *, leaf: str) -> Inexact[Tensor, "batch time *shape"]:
    """Return how much of each number of a leaf each step keeps; complex for a complex leaf.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, at least one, or tokens for a model.
        leaf: of the state, by the name that `statewise.state.leaves` gives it, such as "h".

    Raises:
        ValueError: if there is no such leaf of real or complex numbers, or the state grows.
    """
    if not x.shape[1]:
        raise ValueError("retention: x has no inputs, and so no step to look at")
    *before, _ = states_before(mixer, x)
    if any(states.nbytes(state) != states.nbytes(before[0]) for state in before):
        raise ValueError(f"retention: the state of {type(mixer).__name__} grows with what is read")
    # All steps side by side, as the rows of one batch: each starts from the state that it met.
    found = diagonal(mixer, x.transpose(0, 1).flatten(0, 1), states.stack(before), leaf=leaf)
    return found.unflatten(0, (x.shape[1], -1)).transpose(0, 1)


def quantiles(
    kept: Inexact[Tensor, "batch time *shape"], levels: Sequence[float | int] = (0.1, 0.5, 0.9)
) -> Float[Tensor, "quantiles units"]:
    """Return the quantiles of each number's retention over rows and times; of complex ones' moduli.

    Args:
        kept: what `retention` returned.
        levels: in [0, 1].

    Raises:
        ValueError: for a level out of range.
    """
    if not all(0 <= at <= 1 for at in levels):
        raise ValueError(f"levels = {list(levels)} should be in [0, 1]")
    # Not torch.quantile, which refuses more than 16 million numbers.
    return torch.from_numpy(np.quantile(_numbers(kept), levels, axis=0))


def _numbers(kept: Tensor) -> np.ndarray:
    """Return real numbers, (batch * time, numbers)."""
    flat = (kept.abs() if kept.is_complex() else kept).detach().cpu().double()
    return flat.flatten(0, 1).flatten(1).numpy()


def plot_retention(named: Mapping[str, Inexact[Tensor, "batch time *shape"]]) -> bytes:
    """Return a PNG with a row for each name: how often each value was met, and how units differ.

    The right half has the units in order of their medians, with a band from the tenth to the
    ninetieth percentile: a wide band is a gate that the input moves, a thin one a constant. Complex
    numbers are shown by their moduli.

    Raises:
        ImportError: if matplotlib is missing.
    """
    values = {name: _numbers(kept) for name, kept in named.items()}
    low = min(0.0, *(float(found.min()) for found in values.values()))
    high = max(1.0, *(float(found.max()) for found in values.values()))
    drawings: list[pictures.Drawing] = []
    for number, (name, kept) in enumerate(named.items()):
        share = np.histogram(values[name], np.linspace(low, high, BINS + 1))[0] / values[name].size
        last = number == len(named) - 1
        drawings += [
            partial(_histogram, name=name, number=number, share=share, ends=(low, high), last=last),
            partial(_units, number=number, kept=kept, ends=(low, high), last=last),
        ]
    return pictures.picture(*drawings, columns=2, height=0.6 + 1.05 * len(named))


def _histogram(
    axes: Any, *, name: str, number: int, share: np.ndarray, ends: tuple[float, float], last: bool
) -> None:
    edges = np.linspace(*ends, BINS + 1)
    axes.stairs(100 * share, edges, color=pictures.colour(number), fill=True, alpha=0.8)
    axes.set_ylim(bottom=0)
    axes.set_title(pictures.printable(name), fontsize=9, loc="left", parse_math=False)
    axes.set_ylabel("% of units\nand steps", fontsize=8)
    if last:
        axes.set_xlabel("share of a number that a step keeps", fontsize=10)


def _units(axes: Any, *, number: int, kept: Tensor, ends: tuple[float, float], last: bool) -> None:
    least, median, most = quantiles(kept).numpy()
    order = median.argsort()
    x = 100 * (np.arange(len(order)) + 0.5) / len(order)
    axes.fill_between(
        x, least[order], most[order], color=pictures.colour(number), alpha=0.3, linewidth=0
    )
    axes.plot(x, median[order], color=pictures.colour(number), linewidth=1.6)
    axes.set_ylim(ends[0] - 0.05, ends[1] + 0.05)
    if number == 0:
        axes.set_title("each unit over all steps: median, and 10 to 90%", fontsize=9, loc="left")
    axes.set_ylabel("kept", fontsize=9)
    if last:
        axes.set_xlabel("units in order of their median (percent)", fontsize=10)
