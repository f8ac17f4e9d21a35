"""Programs: what a cell computes at one time, as a list of operations on rows of numbers.

Every value has a row for each sequence of the batch. An operation is pointwise, a product with a
matrix, a sum along the row, or says where numbers come from.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Number = float | int


class Node(NamedTuple):
    """One operation; its place in the list is the name of its value."""

    op: str
    of: tuple[int, ...]
    """The values that it reads."""
    width: int
    """Numbers in a row."""
    at: Number = 0
    """What comes from memory begins here; or a factor, a literal, or which matrix."""
    by: Number = 0
    """What is added after the factor."""


SOURCES = ("drive", "state", "vector", "tape", "grad_output", "grad_state")
"""What comes from memory: inputs, the state before, parameters that act unit by unit; and in a
backward pass products that were kept, and gradients that arrive."""

POINTWISE: Mapping[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "less": lambda a, b: (a < b).to(a.dtype),
    "less_equal": lambda a, b: (a <= b).to(a.dtype),
    "equal": lambda a, b: (a == b).to(a.dtype),
    "where": lambda mask, a, b: torch.where(mask != 0, a, b),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": torch.sign,
    "softplus": functional.softplus,
    "log_sigmoid": functional.logsigmoid,
}
"""Operations on numbers one by one, as torch has them; a mask is 0 or 1."""


class Program(NamedTuple):
    """What a cell computes at one time from its inputs and its state."""

    nodes: tuple[Node, ...]
    state: tuple[int, ...]
    """Values that, side by side, are the next state."""
    output: tuple[int, ...]
    """Values that, side by side, are handed out at every time."""
    matrices: tuple[tuple[int, int], ...]
    """Rows and columns of those that a `product` names."""
    drive_width: int
    vectors_width: int

    @property
    def state_width(self) -> int:
        """Numbers in the state."""
        return sum(self.nodes[place].width for place in self.state)

    @property
    def output_width(self) -> int:
        """Numbers handed out at a time."""
        return sum(self.nodes[place].width for place in self.output)

    @property
    def matrices_size(self) -> int:
        """Numbers in all matrices."""
        return sum(rows * columns for rows, columns in self.matrices)

    def text(self) -> str:
        """Return the program as JSON, which `program` reads."""
        return json.dumps(self)


@lru_cache(maxsize=256)
def program(text: str) -> Program:
    """Return what `Program.text` wrote."""
    nodes, *rest = json.loads(text)
    listed = tuple(Node(op, tuple(of), width, at, by) for op, of, width, at, by in nodes)
    state, output, matrices, drive_width, vectors_width = rest
    sizes = tuple((rows, columns) for rows, columns in matrices)
    return Program(listed, tuple(state), tuple(output), sizes, drive_width, vectors_width)


class Builder:
    """A list of operations that grows; what is there already is not computed twice."""

    def __init__(self, nodes: Iterable[Node] = ()):
        self.nodes = list(nodes)
        self._known = {node: place for place, node in enumerate(self.nodes)}

    def add(
        self, op: str, *of: int, width: int | None = None, at: Number = 0, by: Number = 0
    ) -> int:
        """Return the place of an operation, as wide as what it reads if not said."""
        if width is None:
            width = self.nodes[of[0]].width
        return self.put(Node(op, of, width, at, by))

    def put(self, node: Node) -> int:
        """Return the place of an operation."""
        if node not in self._known:
            self._known[node] = len(self.nodes)
            self.nodes.append(node)
        return self._known[node]

    def literal(self, value: Number, width: int) -> int:
        """Return a row of one number."""
        return self.add("literal", width=width, at=value)

    def value(self, place: int) -> Number | None:
        """Return the number that a value is made of, where it is a literal."""
        node = self.nodes[place]
        return node.at if node.op == "literal" else None

    def width(self, place: int) -> int:
        """Return the numbers in a value's row."""
        return self.nodes[place].width

    def affine(self, of: int, factor: Number, more: Number = 0) -> int:
        """Return factor * value + more."""
        if (factor, more) == (1, 0):
            return of
        known = self.value(of)
        if known is not None:
            return self.literal(factor * known + more, self.width(of))
        return self.add("affine", of, at=factor, by=more)

    def pointwise(self, op: str, *of: int) -> int:
        """Return a pointwise operation; a row of one number is as wide as the others need."""
        width = max(self.width(place) for place in of)
        of = tuple(self.expand(place, width) for place in of)
        if op in ("add", "sub", "mul", "div"):
            a, b = of
            left, right = self.value(a), self.value(b)
            if right is not None and (op != "div" or right != 0):
                factor = {"add": 1, "sub": 1, "mul": right, "div": 1 / (right or 1)}[op]
                more = {"add": right, "sub": -right}.get(op, 0)
                return self.affine(a, factor, more)
            if left is not None and op != "div":
                factor = {"add": 1, "sub": -1, "mul": left}[op]
                return self.affine(b, factor, 0 if op == "mul" else left)
        return self.add(op, *of)

    def expand(self, of: int, width: int) -> int:
        """Return a row of one number as often as asked for."""
        if self.width(of) == width:
            return of
        if self.width(of) != 1:
            raise ValueError(f"rows of {self.width(of)} and of {width} numbers meet")
        known = self.value(of)
        if known is not None:
            return self.literal(known, width)
        return self.add("expand", of, width=width)

    def slice(self, of: int, begin: int, width: int) -> int:
        """Return some numbers of a row."""
        node = self.nodes[of]
        if width == node.width:
            return of
        if node.op == "literal":
            return self.literal(node.at, width)
        if node.op == "slice":
            return self.slice(node.of[0], int(node.at) + begin, width)
        if node.op in SOURCES:
            return self.add(node.op, width=width, at=node.at + begin)
        first = 0
        for part in node.of if node.op == "concat" else ():
            if first <= begin and begin + width <= first + self.width(part):
                return self.slice(part, begin - first, width)
            first += self.width(part)
        return self.add("slice", of, width=width, at=begin)

    def concat(self, parts: Iterable[int]) -> int:
        """Return rows side by side."""
        parts = tuple(parts)
        if len(parts) == 1:
            return parts[0]
        return self.put(Node("concat", parts, sum(self.width(part) for part in parts)))
