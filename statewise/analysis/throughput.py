"""What length costs: seconds forward, in training and for one more step, and how they grow.

    found = costs(model, x, [256, 512, 1024, 2048])
    exponent([c.length for c in found], [c.forward for c in found])     1: linear, 2: quadratic

Medians, warmed up, with as many threads as torch has. A busy machine is slower, and short lengths
are bound by what a call costs whatever its length: exponents below 1 speak of that.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import linear_regression, median
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from statewise.analysis import pictures
from statewise.analysis.trajectories import Inputs, Recurrence


@runtime_checkable
class Trainable(Recurrence, Protocol):
    """A mixer or a model with what training changes."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the weights."""
        ...


class Cost(NamedTuple):
    """Seconds that one length takes, at the median."""

    length: int
    rows: int
    forward: float
    """Of the whole batch, without gradients."""
    training: float
    """Of forward and backward of the whole batch, without an optimizer."""
    step: float
    """Of one more input of the whole batch, after `length` of them."""

    @property
    def forward_tokens_per_second(self) -> float:
        """Return the inputs of all rows by the seconds forward."""
        return self.rows * self.length / self.forward

    @property
    def training_tokens_per_second(self) -> float:
        """Return the inputs of all rows by the seconds of training."""
        return self.rows * self.length / self.training


KINDS = {"forward": "forward", "training": "forward and backward", "step": "one more step"}
"""What is measured, and what it is called."""


def costs(
    model: Trainable,
    x: Inputs,
    lengths: Sequence[int],
    *,
    least: int = 5,
    seconds: float | int = 0.5,
) -> list[Cost]:
    """Return what each length costs a mixer or a model.

    Args:
        model: any, or a mixer; in the mode it is in.
        x: inputs, or tokens for a model, longer than the greatest length by one.
        lengths: at least 1.
        least: calls that each median is taken of.
        seconds: how long calls of one kind and length are repeated, if `least` are done.

    Raises:
        ValueError: if x is too short, or a length or `least` is below 1.
    """
    if least < 1 or not all(1 <= length < x.shape[1] for length in lengths):
        raise ValueError(
            f"lengths = {list(lengths)} should be in [1, {x.shape[1] - 1}], so that x has one more "
            f"input, and least = {least} at least 1"
        )
    return [_cost(model, x, length, least, seconds) for length in lengths]


def _cost(model: Trainable, x: Inputs, length: int, least: int, seconds: float | int) -> Cost:
    # A copy: a part of longer rows would be read from memory in another order.
    read, after = x[:, :length].clone(), x[:, length].clone()
    with torch.no_grad():
        _, state = model(read)
        forward = median_seconds(lambda: model(read), least=least, seconds=seconds)
        step = median_seconds(lambda: model.step(after, state), least=least, seconds=seconds)
    training = training_seconds(
        lambda x: model(x)[0], read, model.parameters(), least=least, seconds=seconds
    )
    return Cost(length, len(x), forward, training, step)


def affordable(
    model: Trainable, x: Inputs, seconds: float, *, least: int = 9, measured: float | int = 1.0
) -> int:
    """Return how many inputs a model reads in so many seconds of training, by its throughput.

    Models that are trained on as many inputs as each affords, whatever their parameters, have equal
    compute: Stanic et al., "The Languini Kitchen: Enabling Language Modelling Research at Different
    Scales of Compute", 2023, arXiv:2309.11197, section 3. The optimizer's share is left out.

    Args:
        model: any, or a mixer; in the mode it is in.
        x: inputs of a step, or tokens for a model.
        seconds: the compute.
        least: calls that the median is taken of.
        measured: seconds for which they are repeated, if `least` are done.
    """
    step = training_seconds(
        lambda x: model(x)[0], x, model.parameters(), least=least, seconds=measured
    )
    return int(x.shape[0] * x.shape[1] * seconds / step)


def training_seconds(
    call: Callable[[Tensor], Tensor],
    x: Inputs,
    parameters: Iterable[nn.Parameter],
    *,
    least: int,
    seconds: float | int,
    most: int = 1000,
) -> float:
    """Return the median seconds of a call and of the gradients of what it answers, added up.

    Args:
        call: what is timed.
        x: what it is given.
        parameters: what gradients are taken by, beside x where that can have one; NaN if nothing.
        least: calls, however slow they are.
        seconds: in all, after which there are no more than `least`.
        most: calls, however fast they are.
    """
    read = x.detach().requires_grad_() if x.is_floating_point() else x
    wanted = [leaf for leaf in (read, *parameters) if leaf.requires_grad]

    def train() -> None:
        torch.autograd.grad(call(read).float().sum(), wanted, allow_unused=True)

    if not wanted:
        return math.nan
    return median_seconds(train, least=least, seconds=seconds, most=most)


def median_seconds(
    call: Callable[[], object], *, least: int, seconds: float | int, most: int = 1000
) -> float:
    """Return the median seconds of a call, warmed up.

    Args:
        call: what is timed.
        least: calls, however slow they are.
        seconds: in all, after which there are no more than `least`.
        most: calls, however fast they are.
    """
    call()
    took: list[float] = []
    while len(took) < least or (len(took) < most and sum(took) < seconds):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return median(took)


def times_faster(
    ours: Callable[[], float], theirs: Callable[[], float], *, rounds: int = 3
) -> float:
    """Return their seconds over ours, each the least of a few that are measured in turn.

    What else a machine does only adds to what is measured.

    Args:
        ours: measures, as `median_seconds` does.
        theirs: the same of what is slower.
        rounds: how often both are measured.
    """
    measured = [(theirs(), ours()) for _ in range(rounds)]
    slower, faster = map(min, zip(*measured, strict=True))
    return slower / faster


class PowerLaw(NamedTuple):
    """A line of logarithms:  y = exp(level) * x ** slope."""

    slope: float
    level: float

    def meets(self, other: "PowerLaw") -> float:
        """Return the logarithm of the x at which both are as large.

        Raises:
            ZeroDivisionError: if they have the same slope.
        """
        return (other.level - self.level) / (self.slope - other.slope)


def power_law(x: Sequence[float | int], y: Sequence[float | int]) -> PowerLaw:
    """Return the line through logarithms, by least squares.

    Raises:
        ValueError: without two different x, or with a number that has no logarithm.
    """
    if len(set(x)) < 2 or len(x) != len(y):
        raise ValueError(
            f"power law: x = {list(x)} should be two or more different ones, with as many y, not "
            f"{len(y)}"
        )
    if min(*x, *y) <= 0:
        raise ValueError("power law: x and y should be above 0")
    return PowerLaw(*linear_regression(list(map(math.log, x)), list(map(math.log, y))))


def exponent(lengths: Sequence[float | int], seconds: Sequence[float | int]) -> float:
    """Return the b of  seconds = a * length ** b,  by least squares of logarithms.

    Raises:
        ValueError: without two different lengths, or with a number that has no logarithm.
    """
    return power_law(lengths, seconds).slope


def plot_costs(named: Mapping[str, Sequence[Cost]], *, kind: str = "training") -> bytes:
    """Return a PNG of seconds by length on logarithmic scales, with each exponent in its name.

    Args:
        named: what `costs` returned.
        kind: "forward", "training" or "step".

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: for another kind, and what `exponent` refuses.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r} should be one of {', '.join(KINDS)}")
    height = pictures.tall(len(named))
    curves = {}
    for name, found in named.items():
        x, y = [c.length for c in found], [getattr(c, kind) for c in found]
        power = round(exponent(x, y), 2) + 0.0  # so that no power is "-0.00"
        curves[f"{name}: length^{power:.2f}"] = (x, [1000 * seconds for seconds in y])
    rows = sorted({c.rows for found in named.values() for c in found})

    def draw(axes: Any) -> None:
        lengths = [x for xs, _ in curves.values() for x in xs]
        before = "inputs read before the step" if kind == "step" else "length (inputs)"
        pictures.by_length(axes, lengths, before)
        count = ", ".join(map(str, rows))
        axes.set_ylabel(f"{KINDS[kind]}, {count} rows (ms)", fontsize=10)
        pictures.lines(axes, curves, marker=True)
        pictures.logarithmic(axes)
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)
