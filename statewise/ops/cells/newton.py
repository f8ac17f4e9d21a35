"""Gated cells for all times at once: their definition, read as a program, by Newton's method."""

import functools
from collections.abc import Mapping, Sequence
from typing import Unpack

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, block_diag, cat, zeros
from torch import dtype as DataType
from torch.nn.functional import linear

from statewise.ops import newton, programs
from statewise.ops.cells.reference import Cell, State, Weights


def solve(
    cell: Cell,
    x: Float[Tensor, "batch time dim"],
    weights: Weights,
    *,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    **options: Unpack[newton.Options],
) -> tuple[Float[Tensor, "batch time hidden"], State, newton.Report]:
    """Return the output at every time, the last state, and how they were found.

    All of it in one dtype, which the tensors have; options are those of `ops.newton.recur`.

    Raises:
        ValueError: if the cell is not read as a program, or the structure does not fit it.
    """
    given = weights._asdict()
    parameters = {name: part for name, part in given.items() if part is not None}
    shapes = tuple((name, tuple(part.shape)) for name, part in parameters.items())
    try:
        reading = _reading(cell, shapes, x.shape[2], initial[0].shape[1], x.dtype)
    except programs.Unreadable as why:
        raise ValueError(f"{cell.name} is not solved for all times: {why}") from why
    reports = list[newton.Report]()
    form = functools.partial(newton.recur, reports=reports, **options)
    start = [leaf.new_zeros(leaf.shape) for leaf in initial]
    marks = {"reset": reset, "lengths": lengths}
    y, final = programs.by_form(form, reading, parameters, x, initial=initial, start=start, **marks)
    return y, tuple(final), reports[0]


@functools.lru_cache(maxsize=64)
def _reading(
    cell: Cell,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    dim: int,
    hidden: int,
    dtype: DataType,
) -> programs.Reading:
    """Return a cell's update as a program, for weights of some shapes."""

    def step(
        parameters: Mapping[str, Tensor], x: Tensor, leaves: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        weights = Weights(**parameters)
        if weights.recurrent.ndim == 3 and weights.recurrent.shape[2] > 1:
            # A program has products with whole matrices.
            heads, _, width = weights.recurrent.shape
            blocks = weights.recurrent.view(heads, cell.gates, width, width).unbind(1)
            whole = cat([block_diag(*gate.unbind()) for gate in blocks])
            weights = weights._replace(recurrent=whole)
        after = cell.update(linear(x, weights.input, weights.input_bias), tuple(leaves), weights)
        return after[0], after

    blank = zeros(1, dtype=dtype)
    parameters = {name: blank.new_zeros(shape) for name, shape in shapes}
    leaves = [blank.new_zeros(1, hidden) for _ in range(cell.leaves)]
    return programs.read(step, parameters, dim, leaves, dtype)
