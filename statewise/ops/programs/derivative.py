"""The backward pass of a program, as another list of operations.

It computes once more what is cheap, from the state before and the products that were kept, and
walks back: from the gradients of what was handed out and of the next state to those of the inputs,
the state, the parameters that act unit by unit, and the products.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from statewise.ops.programs.graph import Builder, Node, Program


class Store(NamedTuple):
    """A value that goes to memory."""

    place: int
    space: str
    """"grad_drive", "grad_before", "operand", "grad_tape", or "grad_vector", which is added to."""
    at: int


class Backward(NamedTuple):
    """A backward pass."""

    nodes: tuple[Node, ...]
    stores: tuple[Store, ...]


def products(program: Program) -> list[int]:
    """Return the products of a program; their values are kept side by side in this order."""
    return [place for place, node in enumerate(program.nodes) if node.op == "product"]


@lru_cache(maxsize=256)
def backward(program: Program) -> Backward:
    """Return the backward pass."""
    return _Backward(program).pass_()


Parts = list[tuple[int, int, int]]
"""Gradients of parts of a row: (begin, width, place)."""


class _Backward:
    def __init__(self, program: Program):
        self.program = program
        self.build = Builder()
        self.here: list[int] = []
        """Where each value of the program is computed again."""
        self.parts: dict[int, Parts] = defaultdict(list)
        self.stores: list[Store] = []

    def pass_(self) -> Backward:
        program, build = self.program, self.build
        tape, operands, begins = 0, 0, []
        for node in program.nodes:
            if node.op == "product":
                # Its value was kept.
                self.here.append(build.add("tape", width=node.width, at=tape))
                begins.append((tape, operands))
                tape += node.width
                operands += program.nodes[node.of[0]].width
            else:
                self.here.append(build.put(node._replace(of=tuple(self.here[p] for p in node.of))))
        for ends, space in ((program.output, "grad_output"), (program.state, "grad_state")):
            at = 0
            for place in ends:
                width = program.nodes[place].width
                self.give(place, build.add(space, width=width, at=at))
                at += width
        grad_drive: Parts = []
        grad_state: Parts = []
        for place in reversed(range(len(program.nodes))):
            node = program.nodes[place]
            gradient = self.whole(place)
            if gradient is None:
                if node.op == "product":
                    gradient = build.literal(0, node.width)
                else:
                    continue
            if node.op == "product":
                begin, operand = begins.pop()
                self.stores.append(Store(gradient, "grad_tape", begin))
                self.stores.append(Store(self.here[node.of[0]], "operand", operand))
                columns = program.nodes[node.of[0]].width
                back = Node("product_transposed", (gradient,), columns, node.at, begin)
                self.give(node.of[0], build.put(back))
            elif node.op == "drive":
                grad_drive.append((int(node.at), node.width, gradient))
            elif node.op == "state":
                grad_state.append((int(node.at), node.width, gradient))
            elif node.op == "vector":
                self.stores.append(Store(gradient, "grad_vector", int(node.at)))
            elif node.op != "literal":
                self.propagate(place, node, gradient)
        for space, parts, width in (
            ("grad_drive", grad_drive, program.drive_width),
            ("grad_before", grad_state, program.state_width),
        ):
            for begin, _, gradient in self.side_by_side(parts, width):
                self.stores.append(Store(gradient, space, begin))
        return Backward(tuple(build.nodes), tuple(self.stores))

    def give(self, place: int, gradient: int, begin: int = 0) -> None:
        """Note a gradient of a value, or of a part of it."""
        self.parts[place].append((begin, self.build.width(gradient), gradient))

    def whole(self, place: int) -> int | None:
        """Return the gradient of a value, or None where there is none."""
        if place not in self.parts:
            return None
        width = self.program.nodes[place].width
        parts = self.side_by_side(self.parts[place], width)
        return self.build.concat(gradient for _, _, gradient in parts)

    def side_by_side(self, parts: Parts, width: int) -> Parts:
        """Return parts that cover a row, each once: what overlaps is added, gaps are zeros."""
        build = self.build
        edges = {0, width}
        for begin, size, _ in parts:
            edges |= {begin, begin + size}
        ordered, found = sorted(edges), []
        for begin, end in pairwise(ordered):
            total = None
            for first, size, gradient in parts:
                if first <= begin and end <= first + size:
                    part = build.slice(gradient, begin - first, end - begin)
                    total = part if total is None else build.pointwise("add", total, part)
            if total is None:
                total = build.literal(0, end - begin)
            found.append((begin, end - begin, total))
        return found

    def propagate(self, place: int, node: Node, g: int) -> None:
        """Note the gradients of what an operation has read."""
        build, of, y = self.build, node.of, self.here[place]
        given = [self.here[p] for p in of]
        match node.op:
            case "slice":
                self.give(of[0], g, int(node.at))
            case "concat":
                begin = 0
                for part in of:
                    width = build.width(self.here[part])
                    self.give(part, build.slice(g, begin, width))
                    begin += width
            case "expand":
                self.give(of[0], build.add("sum", g, width=1))
            case "sum":
                self.give(of[0], build.expand(g, build.width(given[0])))
            case "affine":
                self.give(of[0], build.affine(g, node.at))
            case "where":
                zero = build.literal(0, node.width)
                self.give(of[1], build.pointwise("where", given[0], g, zero))
                self.give(of[2], build.pointwise("where", given[0], zero, g))
            case _:
                for p, slope in zip(of, _SLOPES[node.op](build, given, y, g), strict=True):
                    if slope is not None:
                        self.give(p, slope)


Slopes = Callable[[Builder, Sequence[int], int, int], Sequence[int | None]]


def _one(op: str) -> Slopes:
    """Return the slopes of an operation that a core has an operation for: of the result and g."""
    return lambda build, given, y, g: [build.pointwise(op, g, y)]


def _division(build: Builder, given: Sequence[int], y: int, g: int) -> list[int]:
    share = build.pointwise("div", g, given[1])
    return [share, build.affine(build.pointwise("mul", share, y), -1)]


def _extreme(larger: bool) -> Slopes:
    def slopes(build: Builder, given: Sequence[int], y: int, g: int) -> list[int]:
        a, b = given if larger else tuple(reversed(given))
        share = build.pointwise("share", a, b)  # one where a is larger, half where both are equal
        first = build.pointwise("mul", g, share)
        second = build.pointwise("sub", g, first)
        return [first, second]

    return slopes


_SLOPES: dict[str, Slopes] = {
    "add": lambda build, given, y, g: [g, g],
    "sub": lambda build, given, y, g: [g, build.affine(g, -1)],
    "mul": lambda build, given, y, g: [
        build.pointwise("mul", g, given[1]),
        build.pointwise("mul", g, given[0]),
    ],
    "div": _division,
    "maximum": _extreme(True),
    "minimum": _extreme(False),
    **dict.fromkeys(("less", "less_equal", "equal"), lambda build, given, y, g: [None, None]),
    "sign": lambda build, given, y, g: [None],
    "sigmoid": _one("slope_of_sigmoid"),
    "tanh": _one("slope_of_tanh"),
    "relu": _one("slope_of_relu"),
    "exp": _one("mul"),
    "log": lambda build, given, y, g: [build.pointwise("div", g, given[0])],
    "sqrt": lambda build, given, y, g: [build.affine(build.pointwise("div", g, y), 0.5)],
    "abs": lambda build, given, y, g: [
        build.pointwise("mul", g, build.pointwise("sign", given[0]))
    ],
    "softplus": lambda build, given, y, g: [
        build.pointwise("mul", g, build.pointwise("sigmoid", given[0]))
    ],
    "log_sigmoid": lambda build, given, y, g: [
        build.pointwise("mul", g, build.pointwise("sigmoid", build.affine(given[0], -1)))
    ],
}
"""Gradients of what an operation reads, from what it read, its result and that one's gradient."""
