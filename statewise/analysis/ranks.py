"""How large a state is, and how much of it is used: numbers, bytes and effective rank.

What the rank is of is the caller's choice, by the last two axes:

    S = visited(gla, x, leaf="S")          (batch, time, heads, key, value)
    effective_rank(S)                      of the matrix of each head at each time: at most key
    h = visited(gru, x, leaf="h")          (batch, time, layers, hidden)
    effective_rank(h[:, :, 0])             of all that a row went through: at most hidden
    effective_rank(h[:, :, 0].transpose(0, 1))      of the rows side by side, at each time
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor

from statewise import state as states
from statewise.analysis import pictures
from statewise.analysis.trajectories import Inputs, Recurrence


class Size(NamedTuple):
    """What a row's state holds after `length` inputs."""

    length: int
    numbers: int
    """As the mixer declares them; a complex one is one."""
    bytes: int
    """Of the state that it answered with."""


def effective_rank(matrices: Num[Tensor, "*axes rows columns"]) -> Float[Tensor, "*axes"]:
    """Return exp of the entropy of the singular values, divided by their sum.

    From 1, where one direction is used, to the smaller of rows and columns, where all are used
    alike; 0 for a matrix of zeros. Nothing is centred.

    Roy and Vetterli, "The Effective Rank: A Measure of Effective Dimensionality", EUSIPCO 2007,
    section 2.
    """
    wide = matrices.to(torch.promote_types(matrices.dtype, torch.float32))
    values = torch.linalg.svdvals(wide)
    total = values.sum(-1, keepdim=True)
    share = values / total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total[..., 0] > 0, torch.special.entr(share).sum(-1).exp(), 0.0)


@torch.no_grad()
def sizes(mixer: Recurrence, x: Inputs, lengths: Sequence[int]) -> list[Size]:
    """Return how large a row's state is after so many inputs, in order of length.

    Args:
        mixer: any, or a model.
        x: one row, (1, time, dim) or (1, time), as long as the greatest length.
        lengths: 0 or more; more than one to see whether it grows.

    Raises:
        ValueError: if x has several rows or fewer inputs than a length.
    """
    if len(x) != 1:
        raise ValueError(f"x has {len(x)} rows; the size is that of one row's state")
    if not all(0 <= length <= x.shape[1] for length in lengths):
        raise ValueError(f"lengths = {list(lengths)} should be in [0, {x.shape[1]}], the time of x")
    found, state, read = [], mixer.initial_state(1), 0
    for length in sorted(set(lengths)):
        _, state = mixer(x[:, read:length], state) if length > read else (None, state)
        read = length
        found.append(Size(length, mixer.state_size(length), states.nbytes(state)))
    return found


def plot_sizes(named: Mapping[str, Sequence[Size]]) -> bytes:
    """Return a PNG of bytes by length, on two logarithmic scales, a line for each name.

    Raises:
        ImportError: if matplotlib is missing.
    """
    height = pictures.tall(len(named))
    curves = {
        name: ([s.length for s in found if s.length], [s.bytes for s in found if s.length])
        for name, found in named.items()
    }

    def draw(axes: Any) -> None:
        pictures.by_length(axes, [x for xs, _ in curves.values() for x in xs], "inputs read")
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(_bytes)
        axes.set_ylabel("state of one row", fontsize=10)
        pictures.lines(axes, curves, marker=True)
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)


def plot_ranks(named: Mapping[str, Float[Tensor, " _"]], *, most: int | None = None) -> bytes:
    """Return a PNG of effective rank by time, a line for each name.

    Args:
        named: the rank after each input, from the first.
        most: the largest rank possible, drawn as a level line.

    Raises:
        ImportError: if matplotlib is missing.
    """
    height = pictures.tall(len(named))
    curves = {name: (range(1, len(rank) + 1), rank) for name, rank in named.items()}

    def draw(axes: Any) -> None:
        axes.set_xlabel("inputs read", fontsize=10)
        axes.set_ylabel("effective rank of the state", fontsize=10)
        pictures.lines(axes, curves)
        axes.set_ylim(bottom=0)
        if most is not None:
            axes.set_ylim(top=1.1 * most)
            pictures.level(axes, most, f"the most possible: {most}")
        pictures.name_ends(axes, curves, height=height)

    return pictures.picture(draw, height=height)


def _bytes(number: float, _: object = None) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:g} {unit}"
        number /= 1024
    return f"{number:g} GiB"
