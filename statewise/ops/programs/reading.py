"""Reading a cell: what `cell(x, state)` computes, found by running it once on a few rows.

What reads the input alone is then computed for all times at once; what reads parameters alone,
once; what no later state needs, for all times at once afterwards. The rest is a `Program`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from statewise.ops.programs.graph import POINTWISE, Builder, Program

aten = torch.ops.aten
BATCHES = (97, 101, 103, 107, 109, 113)
"""Batches to read with, one that is no other size: where it stands, the batch is meant."""


class Unreadable(Exception):
    """A cell does something that a program has no word for; the message says what."""


class Value(NamedTuple):
    """One tensor that was seen while reading."""

    place: int
    shape: tuple[int, ...]
    kind: str
    """What it depends on: "state", "x" or "parameters"."""

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape[1:])


class Call(NamedTuple):
    """One operation of torch that was seen; `Value`s stand for tensors."""

    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    results: tuple[Value | None, ...]

    def read(self) -> Iterator[Value]:
        """Give the values that it reads."""
        leaves, _ = tree_flatten((self.arguments, dict(self.options)), _is_value)
        yield from (leaf for leaf in leaves if isinstance(leaf, Value))


def _is_value(x: Any) -> bool:
    return isinstance(x, Value)


class _Recorder(TorchDispatchMode):
    """Notes every operation while a cell runs."""

    def __init__(self, rows: int):
        super().__init__()
        self.rows = rows
        self.calls: list[Call] = []
        self.values: dict[int, Value] = {}
        self.alive: list[Tensor] = []  # so that no address is used twice

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here; to be hidden from Dynamo would import it, which takes a second.
        return False

    def name(self, x: Tensor, kind: str) -> Value:
        value = Value(len(self.alive), tuple(x.shape), kind)
        self.values[id(x)] = value
        self.alive.append(x)
        return value

    def of(self, x: Tensor) -> Value:
        if id(x) not in self.values:
            raise Unreadable("it reads a tensor that is neither a parameter nor a buffer")
        return self.values[id(x)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func._schema.is_mutable:
            raise Unreadable(f"it changes a tensor in place ({func})")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unreadable(f"it draws random numbers ({func})")
        seen = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        values = [self.of(x) for x in seen]
        kinds = {value.kind for value in values}
        kind = next((kind for kind in ("state", "x") if kind in kinds), "parameters")
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        out = func(*args, **kwargs)
        flat = [y if isinstance(y, Tensor) else None for y in tree_flatten(out)[0]]
        if not any(isinstance(y, Tensor) for y in flat):
            raise Unreadable(f"what it does depends on the numbers that it reads ({func})")
        results = tuple(y if y is None else self.name(y, kind) for y in flat)
        noted, options = tree_map(
            lambda x: self.of(x) if isinstance(x, Tensor) else x, (args, kwargs)
        )
        self.calls.append(Call(func, noted, options, results))
        return out


class Reading(NamedTuple):
    """A cell taken apart."""

    rows: int
    """The batch that it was read with, which stands for any other."""
    parameters: tuple[Value, ...]
    """In the order of the names given."""
    x: Value
    clocks: tuple[tuple[Value, int] | None, ...]
    """For each leaf of the state that counts, its value and what each time adds."""
    once: tuple[Call, ...]
    """What reads parameters alone."""
    ahead: tuple[Call, ...]
    """What reads inputs, for all times at once."""
    program: Program
    matrices: tuple[Value, ...]
    """(columns, rows) each, that rows of the state are multiplied with."""
    vectors: tuple[Value, ...]
    drive: tuple[Value, ...]
    """What the program reads of the inputs, side by side."""
    output: tuple[Value, ...]
    """What the program hands out, side by side."""
    afterwards: tuple[Call, ...]
    answer: Value


def read(
    cell: Callable[[Mapping[str, Tensor], Tensor, Sequence[Tensor]], tuple[Tensor, Any]],
    parameters: Mapping[str, Tensor],
    dim: int,
    leaves: Sequence[Tensor],
    dtype: torch.dtype,
) -> Reading:
    """Return what a cell computes.

    Args:
        cell: answers the output and the next state, from parameters by name, x and the state.
        parameters: their shapes are read.
        dim: features of x.
        leaves: of a state, for any batch.
        dtype: in which everything is computed.

    Raises:
        Unreadable: if a program has no word for something that the cell does.
    """
    sizes = {size for t in (*parameters.values(), *leaves) for size in t.shape} | {dim}
    rows = next((batch for batch in BATCHES if batch not in sizes), 127)
    recorder = _Recorder(rows)
    shadows = {name: _shadow(p, dtype) for name, p in parameters.items()}
    x = torch.zeros(rows, dim, dtype=dtype)
    state = [_shadow(leaf.new_zeros(rows, *leaf.shape[1:]), dtype) for leaf in leaves]
    named = tuple(recorder.name(shadow, "parameters") for shadow in shadows.values())
    of_x = recorder.name(x, "x")
    # What counts steps is known for all times beforehand, as inputs are.
    before = [recorder.name(leaf, "state" if leaf.is_floating_point() else "x") for leaf in state]
    with torch.no_grad(), recorder:
        y, after = cell(shadows, x, state)
    answer = recorder.of(y)
    next_state = [recorder.of(leaf) for leaf in tree_flatten(after)[0]]
    if [v.shape for v in next_state] != [v.shape for v in before]:
        raise Unreadable("its next state has other shapes than the state")
    return _taken_apart(rows, recorder.calls, named, of_x, before, answer, next_state)


def _shadow(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.detach().to("cpu", dtype if x.is_floating_point() else x.dtype, copy=True)


def _taken_apart(
    rows: int,
    calls: Sequence[Call],
    parameters: tuple[Value, ...],
    x: Value,
    before: Sequence[Value],
    answer: Value,
    after: Sequence[Value],
) -> Reading:
    by: dict[int, Call] = {
        value.place: call for call in calls for value in call.results if value is not None
    }

    def needed(values: Iterable[Value], known: set[int]) -> set[int]:
        todo, found = list(values), set(known)
        while todo:
            value = todo.pop()
            if value.place not in found:
                found.add(value.place)
                if value.place in by:
                    todo.extend(by[value.place].read())
        return found

    clocks = tuple(_clock(*pair, by) for pair in zip(before, after, strict=True))
    before = [value for value, clock in zip(before, clocks, strict=True) if clock is None]
    after = [value for value, clock in zip(after, clocks, strict=True) if clock is None]
    inside = needed(after, set())
    # Of the rest, what reads nothing of the state is computed ahead, and what does, afterwards.
    whole = needed([answer], inside)

    def chosen(kind: str, among: set[int]) -> tuple[Call, ...]:
        return tuple(
            call
            for call in calls
            if any(v is not None and v.kind == kind and v.place in among for v in call.results)
        )

    looping = chosen("state", inside)
    later = tuple(call for call in chosen("state", whole) if call not in looping)
    lowering = _Lowering(before, rows)
    for call in looping:
        lowering.lower(call)
    handed: list[Value] = []
    ends = [v for call in later for v in call.read()] + [answer]
    made_later = {v.place for call in later for v in call.results if v is not None}
    for value in ends:
        if value.kind == "state" and value.place not in made_later and value not in handed:
            handed.append(value)
    program = lowering.program(after, handed)
    return Reading(
        rows=rows,
        parameters=parameters,
        x=x,
        clocks=clocks,
        once=chosen("parameters", whole),
        ahead=chosen("x", whole),
        program=program,
        matrices=tuple(lowering.matrices),
        vectors=tuple(lowering.vectors),
        drive=tuple(lowering.drive),
        output=tuple(handed),
        afterwards=later,
        answer=answer,
    )


def _clock(before: Value, after: Value, by: Mapping[int, Call]) -> tuple[Value, int] | None:
    """Return a leaf that counts, and by how much, or None where it holds numbers."""
    if before.kind == "state":
        return None
    call = by.get(after.place)
    if call is not None and call.function is aten.add.Tensor and not call.options:
        known, more = call.arguments
        if known == before and isinstance(more, int):
            return before, more
    raise Unreadable("a leaf of whole numbers does something else than count")


class _Lowering:
    """Operations of torch as operations of a program."""

    def __init__(self, before: Sequence[Value], rows: int):
        self.rows = rows
        self.build = Builder()
        self.known: dict[int, int] = {}
        self.masks: set[int] = set()
        self.matrices: list[Value] = []
        self.vectors: list[Value] = []
        self.drive: list[Value] = []
        begin = 0
        for leaf in before:
            self.known[leaf.place] = self.build.add("state", width=leaf.width, at=begin)
            begin += leaf.width

    def program(self, after: Sequence[Value], handed: Sequence[Value]) -> Program:
        """Return what was lowered."""
        state = [self.row(value) for value in after]
        output = [self.row(value) for value in handed]
        nodes, places = _used(self.build.nodes, [*state, *output])
        return Program(
            nodes,
            tuple(places[place] for place in state),
            tuple(places[place] for place in output),
            tuple((v.shape[1], v.shape[0]) for v in self.matrices),
            sum(v.width for v in self.drive),
            sum(math.prod(v.shape) for v in self.vectors),
        )

    def row(self, x: Any, width: int = 1) -> int:
        """Return an argument as a value of the program."""
        if isinstance(x, bool | int | float):
            return self.build.literal(float(x), width)
        assert isinstance(x, Value)
        if x.place not in self.known:
            if x.kind == "x":
                if x.shape[:1] != (self.rows,):
                    raise Unreadable("something read of x has no row for each sequence")
                begin = sum(v.width for v in self.drive)
                self.drive.append(x)
                self.known[x.place] = self.build.add("drive", width=x.width, at=begin)
            else:
                assert x.kind == "parameters"
                if self.rows in x.shape or any(size != 1 for size in x.shape[:-1]):
                    raise Unreadable(f"a parameter of shape {x.shape} meets the state")
                begin = sum(math.prod(v.shape) for v in self.vectors)
                self.vectors.append(x)
                width = math.prod(x.shape)
                self.known[x.place] = self.build.add("vector", width=width, at=begin)
        return self.known[x.place]

    def lower(self, call: Call) -> None:
        """Add what one operation of torch computes."""
        name = call.function.overloadpacket.__name__
        lower = _WORDS.get(name)
        if lower is None:
            raise Unreadable(f"there is no word for {call.function}")
        try:
            found = lower(self, call)
        except ValueError as error:
            raise Unreadable(f"{call.function}: {error}") from error
        places = found if isinstance(found, tuple) else (found,)
        for value, place in zip(call.results, places, strict=False):
            if value is not None and place is not None:
                if self.build.width(place) != value.width or value.shape[:1] != (self.rows,):
                    raise Unreadable(f"{call.function} gives another shape, {value.shape}")
                self.known[value.place] = place

    def matrix(self, x: Any) -> int:
        """Return which of the matrices a parameter is."""
        if not isinstance(x, Value) or x.kind != "parameters" or len(x.shape) != 2:
            raise Unreadable("a product of the state with something that is no matrix")
        if x not in self.matrices:
            self.matrices.append(x)
        return self.matrices.index(x)


Word = Callable[[_Lowering, Call], int | tuple[int | None, ...]]


def _pointwise(op: str, swap: bool = False) -> Word:
    def word(lower: _Lowering, call: Call) -> int:
        given = [_trailing(lower, x, call) for x in call.arguments[: 2 if op in _PAIRS else 1]]
        rows = [lower.row(x) for x in given]
        if op in ("add", "sub") and call.options.get("alpha", 1) != 1:
            rows[1] = lower.build.affine(rows[1], call.options["alpha"])
        return lower.build.pointwise(op, *(reversed(rows) if swap else rows))

    return word


def _plain_softplus(lower: _Lowering, call: Call) -> int:
    x, *factors = call.arguments
    if factors:
        raise Unreadable("a softplus with factors")
    return lower.build.pointwise("softplus", lower.row(x))


_PAIRS = ("add", "sub", "mul", "div", "maximum", "minimum", "less", "less_equal", "equal")


def _trailing(lower: _Lowering, x: Any, call: Call) -> Any:
    """Return an argument, if its numbers meet those of the result one by one."""
    result = cast(Value, next(iter(call.results)))
    if isinstance(x, Value) and math.prod(x.shape) > 1:
        rows = x.shape[:1] == (lower.rows,)
        rest = x.shape[1:] if rows else x.shape
        if (rows and len(x.shape) != len(result.shape)) or not (
            rest in ((), (1,)) or math.prod(rest) in (1, result.width)
        ):
            raise Unreadable(f"{call.function} of shapes {x.shape} and {result.shape}")
    return x


def _where(lower: _Lowering, call: Call) -> int:
    mask, a, b = (lower.row(_trailing(lower, x, call)) for x in call.arguments)
    return lower.build.pointwise("where", mask, a, b)


def _clamp(lower: _Lowering, call: Call) -> int:
    x, low, high = (*call.arguments, None, None)[:3]
    low, high = call.options.get("min", low), call.options.get("max", high)
    build, place = lower.build, lower.row(x)
    for bound, below in ((low, True), (high, False)):
        if bound is None:
            continue
        edge = lower.row(bound, build.width(place))
        outside = (place, edge) if below else (edge, place)
        place = build.pointwise("where", build.pointwise("less", *outside), edge, place)
    return place


def _power(lower: _Lowering, call: Call) -> int:
    x, power = call.arguments
    place = lower.row(x)
    if power == 2:
        return lower.build.pointwise("mul", place, place)
    if power == 0.5:
        return lower.build.pointwise("sqrt", place)
    raise Unreadable(f"there is no word for the power {power}")


def _product(lower: _Lowering, call: Call) -> int:
    *bias, x, matrix = call.arguments
    if call.options.get("beta", 1) != 1 or call.options.get("alpha", 1) != 1:
        raise Unreadable("a product with factors")
    which = lower.matrix(matrix)
    found = lower.build.add("product", lower.row(x), width=matrix.shape[1], at=which)
    return lower.build.pointwise("add", found, lower.row(bias[0])) if bias else found


def _same(lower: _Lowering, call: Call) -> int:
    return lower.row(call.arguments[0])


def _filled(value: int | None) -> Word:
    def word(lower: _Lowering, call: Call) -> int:
        filled = call.arguments[1] if value is None else value
        return lower.build.literal(float(filled), cast(Value, call.results[0]).width)

    return word


def _detached(lower: _Lowering, call: Call) -> int:
    # torch detaches what zeros_like and its kin make, since the recorder keeps it too.
    place = lower.row(call.arguments[0])
    if lower.build.value(place) is None:
        raise Unreadable("it stops the gradient of something that it computes")
    return place


def _split(lower: _Lowering, call: Call) -> tuple[int, ...]:
    x, _, axis = (*call.arguments, call.options.get("dim", 0))[:3]
    return _pieces(lower, x, axis, [cast(Value, result) for result in call.results])


def _pieces(lower: _Lowering, x: Value, axis: int, parts: Sequence[Value]) -> tuple[int, ...]:
    _first_axis(x, axis)
    place, begin, found = lower.row(x), 0, []
    for part in parts:
        found.append(lower.build.slice(place, begin, part.width))
        begin += part.width
    return tuple(found)


def _first_axis(x: Value, axis: int) -> None:
    """Refuse an axis along which numbers do not lie side by side."""
    axis %= len(x.shape)
    if axis == 0 or any(size != 1 for size in x.shape[1:axis]):
        raise Unreadable(f"axis {axis} of a tensor of shape {x.shape} is taken apart")


def _slice(lower: _Lowering, call: Call) -> int:
    def part(
        x: Value, axis: int = 0, begin: int | None = None, end: int | None = None, step: int = 1
    ) -> int:
        if step != 1:
            raise Unreadable("a slice with a step")
        _first_axis(x, axis)
        size = x.shape[axis]
        begin = 0 if begin is None else begin + size if begin < 0 else min(begin, size)
        width = cast(Value, call.results[0]).width
        return lower.build.slice(lower.row(x), begin * (x.width // size), width)

    return part(*call.arguments, **call.options)


def _select(lower: _Lowering, call: Call) -> int:
    x, axis, index = call.arguments
    _first_axis(x, axis)
    inner = x.width // x.shape[axis]
    return lower.build.slice(lower.row(x), index % x.shape[axis] * inner, inner)


def _concat(lower: _Lowering, call: Call) -> int:
    parts, axis = (*call.arguments, call.options.get("dim", 0))[:2]
    for part in parts:
        _first_axis(part, axis)
    return lower.build.concat(lower.row(part) for part in parts)


def _stack(lower: _Lowering, call: Call) -> int:
    parts, axis = (*call.arguments, call.options.get("dim", 0))[:2]
    _first_axis(cast(Value, call.results[0]), axis)
    return lower.build.concat(lower.row(part) for part in parts)


def _sum(mean: bool) -> Word:
    def word(lower: _Lowering, call: Call) -> int:
        x, axes = call.arguments[:2]
        if [axis % len(x.shape) for axis in axes] != [1] or len(x.shape) != 2:
            raise Unreadable(f"{call.function} over other axes than the last of two")
        total = lower.build.add("sum", lower.row(x), width=1)
        return lower.build.affine(total, 1 / x.width) if mean else total

    return word


def _layer_norm(lower: _Lowering, call: Call) -> tuple[int | None, ...]:
    x, shape, weight, bias, epsilon = call.arguments
    if len(x.shape) != 2 or list(shape) != [x.width]:
        raise Unreadable("a layer norm over other axes than the last of two")
    build, place = lower.build, lower.row(x)
    mean = build.affine(build.add("sum", place, width=1), 1 / x.width)
    centred = build.pointwise("sub", place, mean)
    square = build.pointwise("mul", centred, centred)
    variance = build.affine(build.add("sum", square, width=1), 1 / x.width, epsilon)
    found = build.pointwise("div", centred, build.pointwise("sqrt", variance))
    if weight is not None:
        found = build.pointwise("mul", found, lower.row(weight))
    if bias is not None:
        found = build.pointwise("add", found, lower.row(bias))
    return found, None, None


def _composed(compose: Callable[[Builder, int], int]) -> Word:
    return lambda lower, call: compose(lower.build, lower.row(call.arguments[0]))


def _lerp(lower: _Lowering, call: Call) -> int:
    a, b, weight = (lower.row(_trailing(lower, x, call)) for x in call.arguments)
    build = lower.build
    return build.pointwise("add", a, build.pointwise("mul", weight, build.pointwise("sub", b, a)))


_OTHER_NAMES = ("where", "less", "less_equal", "equal", "log_sigmoid", "softplus")
"""Operations that torch's dispatcher knows by other names, or with more arguments."""

_WORDS: dict[str, Word] = {
    **{op: _pointwise(op) for op in POINTWISE if op not in _OTHER_NAMES},
    "softplus": _plain_softplus,
    "lt": _pointwise("less"),
    "le": _pointwise("less_equal"),
    "gt": _pointwise("less", swap=True),
    "ge": _pointwise("less_equal", swap=True),
    "eq": _pointwise("equal"),
    "rsub": _pointwise("sub", swap=True),
    "sgn": _pointwise("sign"),
    "where": _where,
    "clamp": _clamp,
    "clamp_min": lambda lower, call: _clamp(
        lower, call._replace(arguments=(call.arguments[0], call.arguments[1], None))
    ),
    "clamp_max": lambda lower, call: _clamp(
        lower, call._replace(arguments=(call.arguments[0], None, call.arguments[1]))
    ),
    "pow": _power,
    "neg": _composed(lambda build, x: build.affine(x, -1)),
    "reciprocal": _composed(lambda build, x: build.pointwise("div", build.literal(1, 1), x)),
    "rsqrt": _composed(
        lambda build, x: build.pointwise("div", build.literal(1, 1), build.pointwise("sqrt", x))
    ),
    "silu": _composed(lambda build, x: build.pointwise("mul", x, build.pointwise("sigmoid", x))),
    "logical_not": _composed(lambda build, x: build.affine(x, -1, 1)),
    "bitwise_not": _composed(lambda build, x: build.affine(x, -1, 1)),
    "log_sigmoid_forward": lambda lower, call: (
        lower.build.pointwise("log_sigmoid", lower.row(call.arguments[0])),
        None,
    ),
    "lerp": _lerp,
    "mm": _product,
    "addmm": _product,
    "split": _split,
    "split_with_sizes": _split,
    "slice": _slice,
    "select": _select,
    "cat": _concat,
    "stack": _stack,
    "sum": _sum(False),
    "mean": _sum(True),
    "native_layer_norm": _layer_norm,
    "zeros_like": _filled(0),
    "ones_like": _filled(1),
    "full_like": _filled(None),
    **dict.fromkeys(("new_zeros",), _filled(0)),
    **dict.fromkeys(("new_ones",), _filled(1)),
    "detach": _detached,
    **dict.fromkeys(("clone", "alias", "_to_copy"), _same),
    # Rows keep their numbers in order: the shape of the result is looked at where it is noted.
    **dict.fromkeys(("view", "unsqueeze", "squeeze", "_unsafe_view"), _same),
    **dict.fromkeys(("logical_and", "bitwise_and"), _pointwise("mul")),
}
"""How a program says what torch's operations compute."""


def _used(nodes: Sequence[Any], ends: Sequence[int]) -> tuple[tuple[Any, ...], dict[int, int]]:
    """Return the operations that the ends need, and their new places."""
    todo, wanted = list(ends), set()
    while todo:
        place = todo.pop()
        if place not in wanted:
            wanted.add(place)
            todo.extend(nodes[place].of)
    places = {old: new for new, old in enumerate(sorted(wanted))}
    kept = tuple(
        nodes[old]._replace(of=tuple(places[place] for place in nodes[old].of)) for old in places
    )
    return kept, places
