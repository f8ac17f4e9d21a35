"""Cells written as a function  y_t, s_t = cell(x_t, s_{t-1}),  computed without a loop in Python.

The function is run once, on a few rows of zeros, and taken apart: what reads inputs alone is
computed for all times at once, and so is what no later state needs; the loop between is a program.
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float, Int, Num
from torch import Tensor, arange, cat, compiler, full_like, where, zeros_like
from torch import bool as boolean
from torch.utils._pytree import tree_map

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.linear import linear
from statewise.ops.programs import native, reference
from statewise.ops.programs.graph import Program as Program
from statewise.ops.programs.reading import Call, Reading, Value
from statewise.ops.programs.reading import Unreadable as Unreadable
from statewise.ops.programs.reading import read as read
from statewise.ops.programs.reference import Function, Leaves
from statewise.ops.programs.torch import recur as by_torch

__all__ = ["TABLE", "Program", "Reading", "Unreadable", "by_form", "read", "recur", "table"]


def without_program(x: Tensor) -> str | None:
    """Object where the function itself has to be seen."""
    return "torch.compile follows the function itself" if compiler.is_compiling() else None


def without_native(x: Tensor) -> str | None:
    """Object to what the core cannot compute."""
    return without_program(x) or backends.without_native(x)


TABLE = (
    backends.Row("native", without_native),
    backends.Row("torch", without_program),
    backends.Row("reference", backends.always),
)


def table(reading: Reading | Unreadable) -> tuple[backends.Row, ...]:
    """Return the rows of the table that can serve a cell."""
    if isinstance(reading, Reading) or compiler.is_compiling():
        return TABLE
    why = f"this cell is no program: {reading}"
    return (*(row._replace(objection=lambda _: why) for row in TABLE[:-1]), TABLE[-1])


_FORMS = {"native": native.recur, "torch": by_torch}


def recur(
    cell: Function,
    reading: Reading | Unreadable,
    parameters: Mapping[str, Tensor],
    x: Float[Tensor, "batch time dim"],
    *,
    initial: Leaves,
    start: Leaves,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time ..."], list[Num[Tensor, "batch ..."]]]:
    """Return a cell's output at every time, and its last state, fresh tensors.

    Args:
        cell: answers the output and the leaves of the next state, from parameters by name, an input
            (batch, dim) and the leaves of a state.
        reading: what `read` found of it, or why it found nothing.
        parameters: by name, as they were read, in the dtype of all the rest.
        x: the inputs.
        initial: the leaves of the state before the first input.
        start: those that a reset returns to.
        reset: where true, the state returns to its start before the input is read.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            last state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    check_marks("cell", len(x), x.shape[1], reset, lengths)
    choice = backends.choose("programs", table(reading), x)
    marks = {"reset": reset, "lengths": lengths}
    if isinstance(reading, Unreadable) or choice.backend == "reference":
        return reference.recur(cell, parameters, x, initial=initial, start=start, **marks)
    form = _FORMS[choice.backend]
    return by_form(form, reading, parameters, x, initial=initial, start=start, **marks)


def by_form(
    form: Any,
    reading: Reading,
    parameters: Mapping[str, Tensor],
    x: Tensor,
    *,
    initial: Leaves,
    start: Leaves,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    """Return what `recur` does, by one form of the program within."""
    batch, time, _ = x.shape
    rows, values = batch * time, dict[int, Tensor]()
    real = None
    if lengths is not None:
        real = arange(time, device=x.device) < lengths[:, None]
        x = where(real[..., None], x, 0)
    for value, name in zip(reading.parameters, parameters, strict=True):
        values[value.place] = parameters[name]
    _evaluate(reading, reading.once, values, rows, x)
    values[reading.x.place] = x.reshape(rows, x.shape[2])
    counted = [
        None if clock is None else _counted(clock[1], first, anew, time, reset, lengths)
        for clock, first, anew in zip(reading.clocks, initial, start, strict=True)
    ]
    for clock, count in zip(reading.clocks, counted, strict=True):
        if clock is not None and count is not None:
            values[clock[0].place] = count[0].flatten(0, 1)
    numbers = [n for n, clock in enumerate(reading.clocks) if clock is None]
    _evaluate(reading, reading.ahead, values, rows, x)
    program = reading.program
    drive = _beside([values[v.place].reshape(batch, time, v.width) for v in reading.drive], x)
    matrices = _flat([values[v.place].t() for v in reading.matrices], x)
    vectors = _flat([values[v.place] for v in reading.vectors], x)
    output, final = form(
        program,
        drive.expand(batch, time, -1),
        matrices,
        vectors,
        initial=_packed([initial[n] for n in numbers], x),
        start=_packed([start[n] for n in numbers], x),
        reset=reset,
        lengths=lengths,
    )
    begin = 0
    for value in reading.output:
        part = output[..., begin : begin + value.width]
        values[value.place] = part.reshape(rows, *value.shape[1:])
        begin += value.width
    _evaluate(reading, reading.afterwards, values, rows, x)
    answer = values[reading.answer.place]
    y = answer.reshape(batch, time, *reading.answer.shape[1:])
    if real is not None:
        y = where(real.reshape(batch, time, *[1] * (y.ndim - 2)), y, 0)
    begin, finals = 0, []
    for leaf, count in zip(initial, counted, strict=True):
        if count is not None:
            finals.append(count[1])
            continue
        width = leaf.shape[1:].numel()
        finals.append(final[:, begin : begin + width].reshape(leaf.shape).clone())
        begin += width
    return y, finals


def _counted(
    by: int,
    initial: Int[Tensor, "batch ..."],
    start: Int[Tensor, "batch ..."],
    time: int,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Int[Tensor, "batch time ..."], Int[Tensor, "batch ..."]]:
    """Return what a leaf holds that counts, before every input and after the last."""
    place = arange(time + 1, device=initial.device).expand(len(initial), -1)
    ones = [1] * (initial.ndim - 1)
    anew = zeros_like(place, dtype=boolean)
    if reset is not None:
        anew[:, :time] = reset
    if lengths is not None:
        anew &= place < lengths[:, None]
    since = where(anew, place, -1).cummax(1).values
    begun = (since >= 0).reshape(*since.shape, *ones)
    steps = (place - since.clamp(min=0)).reshape(*since.shape, *ones)
    count = where(begun, start[:, None], initial[:, None]) + by * steps
    last = full_like(place[:, 0], time) if lengths is None else lengths
    return count[:, :time], count[arange(len(count), device=count.device), last]


def _evaluate(
    reading: Reading, calls: Sequence[Call], values: dict[int, Tensor], rows: int, like: Tensor
) -> None:
    """Compute what was seen while reading, for as many rows as there are."""

    def there(x: Any) -> Any:
        if isinstance(x, Value):
            return values[x.place]
        return rows if isinstance(x, int) and x == reading.rows else x

    for call in calls:
        # A `Value` and an operator's lists of numbers are trees to torch: leaves are said.
        given = tree_map(there, call.arguments, is_leaf=lambda x: isinstance(x, Value))
        name = call.function.overloadpacket.__name__
        if name in ("mm", "addmm") and not call.options:
            *bias, a, b = given
            results: Any = linear(a, b.t(), bias[0] if bias else None)
        else:
            options = dict(call.options)
            if "device" in options:
                options |= {"device": like.device, "dtype": like.dtype}
            results = call.function(*given, **options)
        listed = results if isinstance(results, tuple | list) else (results,)
        for value, result in zip(call.results, listed, strict=True):
            if value is not None:
                values[value.place] = result


def _beside(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    return cat(list(parts), -1) if parts else like.new_zeros(*like.shape[:2], 0)


def _flat(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    flat = [part.reshape(-1) for part in parts]
    return cat(flat) if flat else like.new_zeros(0)


def _packed(leaves: Sequence[Tensor], like: Tensor) -> Tensor:
    # A leaf may be a number for each row, without an axis of its own.
    flat = [leaf[..., None].flatten(1) for leaf in leaves]
    return cat(flat, 1) if flat else like.new_zeros(len(like), 0)
