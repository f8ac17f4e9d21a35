"""Is it a tree: the edges of a graph, and whether it is one, at once or at the end of a walk.

Four nodes in a row, 0 to 2, 2 to 1 and 1 to 3; in the second line with the walk written out:

tokens   0 2 1 2 1 3 2 0 2 1 3 1 ?
tokens   0 2 1 2 1 3 2 0 2 1 3 1 ? 0 2 1 3 1 2 0
targets  . . . . . . . . . . . . 0 2 1 3 1 2 0 yes     of the first line: yes, at the question

Every edge is written both ways, and all are sorted. The walk begins at node 0 with its first
neighbour, leaves each node for the neighbour that follows, in a circle, the one it came from, and
ends where it would begin again. There is one edge less than there are nodes, so that a graph is a
tree exactly if the walk has gone both ways along all of them. Half of the graphs are none: an edge
between two nodes that are no leaves was put elsewhere and closes a cycle, and the walk ends early.
Each step reads one edge that was written before; without the walk all of the graph has to be held.
After Wen, Dang and Lyu, "RNNs are not Transformers (Yet)", 2024, arXiv:2402.18510.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples, chooser

Graph = list[list[int]]
"""The neighbours of each node, sorted."""


@dataclass(frozen=True)
class IsTree:
    """Graphs as large as the length has room for.

    Args:
        nodes: of the largest graph, at least 5: the smallest that a cycle can be part of.
        walk: whether the walk is written out before the answer.
    """

    nodes: int = 12
    walk: bool = False

    def __post_init__(self) -> None:
        if self.nodes < 5:
            raise ValueError(f"nodes is {self.nodes}; graphs have 5 or more")

    @property
    def vocab(self) -> int:
        """Return the nodes, no, yes, and the question."""
        return self.nodes + 3

    @property
    def answers(self) -> int:
        """Return no and yes, and with a walk the nodes."""
        return self.nodes + 2 if self.walk else 2

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written."""
        return (*map(str, range(self.nodes)), "no", "yes", "?")

    def tokens(self, nodes: int) -> int:
        """Return how many tokens a graph of so many nodes takes."""
        return 4 * (nodes - 1) + 1 + (2 * nodes - 1) * self.walk

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` graphs, all as large as `length` tokens allow; questions fill the rest.

        Raises:
            ValueError: for a length that has no room for 5 nodes.
        """
        if length < self.tokens(5):
            raise ValueError(f"length is {length}; 5 nodes need {self.tokens(5)}")
        nodes = max(n for n in range(5, self.nodes + 1) if self.tokens(n) <= length)
        below, question = chooser(generator), self.vocab - 1
        tokens = torch.full((batch, length), question)
        targets, mask = tokens.clone(), torch.zeros(batch, length, dtype=torch.bool)
        for row in range(batch):
            graph = _graph(nodes, below(2) == 1, below)
            written = [node for edge in _edges(graph) for node in edge] + [question]
            walk, answer = self._walked(graph)
            asked, walk = len(written), walk if self.walk else []
            tokens[row, : asked + len(walk)] = torch.tensor(written + walk)
            counts = slice(asked - 1, asked + len(walk))
            targets[row, counts] = torch.tensor([*walk, answer])
            mask[row, counts] = True
        return Examples(tokens, targets, mask)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: read the edges up to the question, and walk."""
        asked = tokens.index(self.vocab - 1)
        graph: Graph = [[] for _ in range(1 + max(tokens[:asked]))]
        for source, target in zip(tokens[:asked:2], tokens[1:asked:2], strict=True):
            graph[source].append(target)
        walk, answer = self._walked(graph)
        answers = [*walk, answer] if self.walk else [answer]
        return tokens[:asked] + answers + tokens[asked + len(answers) :]

    def _walked(self, graph: Graph) -> tuple[list[int], int]:
        """Return the walk, and the token for no or yes."""
        before, walk = graph[0][-1], [0]
        while len(walk) == 1 or (before, walk[-1]) != (graph[0][-1], 0):
            here = walk[-1]
            around = graph[here]
            walk.append(around[(around.index(before) + 1) % len(around)])
            before = here
        return walk, self.nodes + (len(walk) == 2 * len(graph) - 1)


def _edges(graph: Graph) -> list[tuple[int, int]]:
    return [(source, target) for source, targets in enumerate(graph) for target in targets]


def _graph(nodes: int, tree: bool, below: Callable[[int], int]) -> Graph:
    """Return a graph of one edge less than nodes, none of which is alone."""
    while True:
        names = sorted(range(nodes), key=lambda _: below(1 << 30))
        edges = [(names[node], names[below(node)]) for node in range(1, nodes)]
        graph: list[set[int]] = [set() for _ in range(nodes)]
        for one, other in edges:
            graph[one].add(other)
            graph[other].add(one)
        inner = [(a, b) for a, b in edges if len(graph[a]) > 1 and len(graph[b]) > 1]
        if not inner:
            continue  # a star, all of whose edges end in leaves
        if not tree:
            one, other = inner[below(len(inner))]
            graph[one].remove(other)
            graph[other].remove(one)
            side = _reached(graph, one)
            halves = (side, set(range(nodes)) - side)
            apart = [(a, b) for h in halves for a in h for b in h if a < b and b not in graph[a]]
            one, other = apart[below(len(apart))]
            graph[one].add(other)
            graph[other].add(one)
        return [sorted(around) for around in graph]


def _reached(graph: list[set[int]], start: int) -> set[int]:
    """Return the nodes that can be reached from one."""
    found, new = {start}, [start]
    while new:
        further = graph[new.pop()] - found
        found |= further
        new += further
    return found
