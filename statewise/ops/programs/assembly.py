"""Programs as the core reads them: whole numbers that say what is computed from where to where."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from statewise import backends
from statewise.ops.programs.derivative import Store, backward, products
from statewise.ops.programs.graph import SOURCES, Node, Number, Program

Where = tuple[str, int]
"""A space, and where in a row of it."""


class Assembly(NamedTuple):
    """What a kernel needs to know."""

    code: Tensor
    """(instructions, 12) int64: operation, width, and space and offset of the result and of three
    operands; for a product which matrix, for a factor two places among the literals."""
    literals: Tensor
    local: int
    """Numbers a row that values need between two products, which are computed a few rows a time."""
    lasting: int
    """Numbers a row that values need which are read beyond a product."""
    tape: int
    """Numbers a row that products give."""
    operands: int
    """Numbers a row that products read."""


@lru_cache(maxsize=256)
def forward_of(program: Program, dtype: torch.dtype) -> Assembly:
    """Return how the core computes a program."""
    stores = []
    for ends, space in ((program.state, "after"), (program.output, "output")):
        at = 0
        for place in ends:
            stores.append(Store(place, space, at))
            at += program.nodes[place].width
    return _Assembler(program, program.nodes, stores).assembled(dtype)


@lru_cache(maxsize=256)
def backward_of(program: Program, dtype: torch.dtype) -> Assembly:
    """Return how the core walks back through a program."""
    found = backward(program)
    return _Assembler(program, found.nodes, found.stores).assembled(dtype)


class _Assembler:
    def __init__(self, program: Program, nodes: Sequence[Node], stores: Sequence[Store]):
        assert backends.core is not None
        self.operations = {name: n for n, name in enumerate(backends.core.program_operations())}
        self.spaces = {name: n for n, name in enumerate(backends.core.program_spaces())}
        self.program, self.nodes = program, nodes
        self.stores: dict[int, list[Store]] = {}
        for store in stores:
            self.stores.setdefault(store.place, []).append(store)
        self.code: list[list[int]] = []
        self.literals: list[Number] = []
        self.literal_at: dict[tuple[Number, int], int] = {}
        self.where: dict[int, Where] = {}
        self.sizes = {"local": 0, "lasting": 0}
        self.free: dict[tuple[str, int], list[int]] = {}
        self.released: set[int] = set()
        self.roots = [self._root(place) for place in range(len(nodes))]
        self.last, self.local = self._lives()

    def _root(self, place: int) -> int:
        """Return the value in whose memory another lies."""
        while self.nodes[place].op == "slice":
            place = self.nodes[place].of[0]
        return place

    def _lives(self) -> tuple[list[int], list[bool]]:
        """Return where each value is read last, and whether no product lies between."""
        segment, segments = 0, []
        for node in self.nodes:
            segment += _is_product(node)
            segments.append(segment)
        last = list(range(len(self.nodes)))
        local = [not _is_product(node) for node in self.nodes]
        for place, node in enumerate(self.nodes):
            for read in node.of:
                root = self.roots[read]
                last[root] = place
                # A product reads all rows at once.
                local[root] &= segments[root] == segments[place] and not _is_product(node)
        return last, local

    def assembled(self, dtype: torch.dtype) -> Assembly:
        """Return the instructions."""
        for place, node in enumerate(self.nodes):
            self._assemble(place, node)
            self._release(place, node.of)
            if self.last[place] == place == self.roots[place]:
                self._release(place, (place,))
        widths = [self.program.nodes[place].width for place in products(self.program)]
        read = [
            self.program.nodes[self.program.nodes[place].of[0]].width
            for place in products(self.program)
        ]
        return Assembly(
            torch.tensor(self.code, dtype=torch.int64).view(-1, 12),
            torch.tensor(self.literals, dtype=dtype),
            self.sizes["local"],
            self.sizes["lasting"],
            sum(widths),
            sum(read),
        )

    def _assemble(self, place: int, node: Node) -> None:
        stores = list(self.stores.get(place, ()))
        op = node.op
        if op in SOURCES:
            self.where[place] = ("before" if op == "state" else op, int(node.at))
        elif op == "literal":
            self.where[place] = ("literal", self._literal(node.at, node.width))
        elif op == "slice":
            space, at = self.where[node.of[0]]
            self.where[place] = (space, at + int(node.at))
        else:
            given = [self.where[read] for read in node.of]
            # What is computed number by number may overwrite what it reads for the last time.
            if op not in ("sum", "expand", "concat") and not _is_product(node):
                self._release(place, node.of)
            to = self._destination(place, node, stores)
            self.where[place] = to
            self._compute(node, to, given)
        for store in stores:
            name = "accumulate" if store.space == "grad_vector" else "move"
            self._emit(name, node.width, (store.space, store.at), [self.where[place]])

    def _compute(self, node: Node, to: Where, given: Sequence[Where]) -> None:
        match node.op:
            case "concat":
                begin = to[1]
                for part, where in zip(node.of, given, strict=True):
                    self._emit("move", self.nodes[part].width, (to[0], begin), [where])
                    begin += self.nodes[part].width
            case "affine":
                more = (self._literal(node.at, 1), self._literal(node.by, 1))
                self._emit("affine", node.width, to, given, more)
            case "product":
                self._emit("product", node.width, to, given, (int(node.at), 0))
            case "product_transposed":
                operand = [("grad_tape", int(node.by))]
                self._emit("product_transposed", node.width, to, operand, (int(node.at), 0))
            case "sum":
                self._emit("sum", self.nodes[node.of[0]].width, to, given)
            case op:
                self._emit(op, node.width, to, given)

    def _destination(self, place: int, node: Node, stores: list[Store]) -> Where:
        """Return where a value goes: straight to where it is stored, if it is."""
        if node.op == "product":
            begin = 0
            for other in products(self.program):
                if other == place:
                    break
                begin += self.program.nodes[other].width
            return "tape", begin
        for store in stores:
            if store.space != "grad_vector":
                stores.remove(store)
                return store.space, store.at
        space = "local" if self.local[place] else "lasting"
        free = self.free.setdefault((space, node.width), [])
        if free:
            return space, free.pop()
        at = self.sizes[space]
        self.sizes[space] += node.width
        return space, at

    def _release(self, place: int, read: Sequence[int]) -> None:
        """Give back the memory of what is read here for the last time."""
        for root in {self.roots[other] for other in read}:
            space, at = self.where[root]
            if self.last[root] == place and space in self.sizes and root not in self.released:
                self.released.add(root)
                self.free.setdefault((space, self.nodes[root].width), []).append(at)

    def _literal(self, value: Number, width: int) -> int:
        if (value, width) not in self.literal_at:
            self.literal_at[value, width] = len(self.literals)
            self.literals += [value] * width
        return self.literal_at[value, width]

    def _emit(
        self,
        name: str,
        width: int,
        to: Where,
        given: Sequence[Where],
        more: tuple[int, int] = (0, 0),
    ) -> None:
        wheres = [to, *given, *[("literal", 0)] * (3 - len(given))]
        places = [number for space, at in wheres for number in (self.spaces[space], at)]
        self.code.append([self.operations[name], width, *places, *more])


def _is_product(node: Node) -> bool:
    return node.op.startswith("product")
