"""How much of its past a state still holds, as far as a linear readout can tell.

    x = 2 * torch.rand(4, 2000, 1, generator=generator) - 1
    curve = memory_curve(reservoir, x, lags=100)
    curve.sum()                            the memory capacity

Jaeger, "Short term memory in echo state networks", GMD report 152, 2001, section 3.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.analysis import pictures
from statewise.analysis.readout import Ridge
from statewise.analysis.trajectories import Recurrence, parts, visited


@torch.no_grad()
def memory_curve(
    mixer: Recurrence,
    x: Float[Tensor, "batch time dim"],
    *,
    lags: int,
    leaf: str | None = None,
    washout: int = 100,
    penalty: float | int = 1e-6,
) -> Float[Tensor, "lags dim"]:
    """Return, for each lag and feature, how well the input of so long ago can be read out.

    It is the squared correlation of x_{t-k} with its linear readout at t, for k = 0, ..., lags - 1,
    where k = 0 is the input that was just read. The readout is learned on the first two thirds of
    the times and asked on the rest. What is not remembered at all has about 1 / (batch time / 3),
    not 0, and so has a share in the sum.

    The sum over lags and features is the memory capacity: at most the real numbers that are read
    from, if the inputs are independent of one another, which is for the caller to see to.

    Args:
        mixer: any, in eval mode.
        x: inputs, drawn independently; Jaeger's are uniform in [-1, 1].
        lags: how many.
        leaf: of the state, by name, to read from; the outputs if absent.
        washout: inputs at the beginning that are not learned from.
        penalty: of the readout's weights, as `Ridge` has it.

    Raises:
        ValueError: if x is too short, or there is no such leaf.
    """
    time, dim = x.shape[1:]
    first = max(washout, lags - 1)
    end = first + 2 * (time - first) // 3
    if lags < 1 or washout < 0 or time - end < 2 or end - first < 2:
        raise ValueError(
            f"memory_curve: lags = {lags} should be at least 1, washout = {washout} at least 0, "
            f"and the time of x, {time}, well above both"
        )
    read = mixer(x)[0] if leaf is None else visited(mixer, x, leaf=leaf)
    y = torch.stack([parts(row) for row in read])
    past = torch.cat([x.double().roll(lag, 1) for lag in range(lags)], -1)
    readout = Ridge(y.shape[-1], lags * dim, penalty=penalty, washout=first)
    readout.add(y[:, :end], past[:, :end])
    predict = readout.fit(dtype=torch.float64)
    found = predict(y[:, end:].to("cpu", torch.float64)).flatten(0, 1)
    return _squared_correlation(found, past[:, end:].cpu().flatten(0, 1)).unflatten(0, (lags, dim))


def _squared_correlation(
    a: Float[Tensor, "rows columns"], b: Float[Tensor, "rows columns"]
) -> Float[Tensor, " columns"]:
    """Return that of each column; 0 where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    sizes = a.square().sum(0) * b.square().sum(0)
    return torch.where(sizes > 0, (a * b).sum(0).square() / sizes.clamp(min=1e-300), 0.0)


def plot_memory(named: Mapping[str, Float[Tensor, "lags dim"]]) -> bytes:
    """Return a PNG of memory curves, averaged over features, in order of their capacities.

    Raises:
        ImportError: if matplotlib is missing.
    """
    curves = {
        f"{name}: capacity {curve.sum():.3g}": (range(len(curve)), curve.mean(1))
        for name, curve in sorted(named.items(), key=lambda item: -float(item[1].sum()))
    }

    def draw(axes: Any) -> None:
        axes.set_xlabel("lag: inputs read since", fontsize=10)
        axes.set_ylabel("squared correlation of an input\nwith its linear readout", fontsize=10)
        pictures.lines(axes, curves)
        axes.set_ylim(-0.02, 1.02)
        pictures.name_beside(axes)

    return pictures.picture(draw, height=pictures.tall(len(named)))
