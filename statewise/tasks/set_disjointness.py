"""Set disjointness: two sets, one after the other, and whether no element is in both.

tokens   7 2 | 5 3 9 2 1 8 4 6 =
targets  . . . . . . . . . . . 0      2 is in both; only what follows = counts
tokens   5 3 9 0 1 8 4 6 | 7 2 =
targets  . . . . . . . . . . . 1      disjoint, and here the larger set comes first

Whoever reads once has to keep the first set, however short the second: the smaller set first is the
easier order, and the size of the first set is the difficulty. After Arora et al., "Just read twice:
closing the recall gap for recurrent language models", 2024, arXiv:2407.05483.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class SetDisjointness:
    """Two sets, disjoint or with one element in common, each as likely as the other.

    Args:
        first: which set comes first; "either" draws it for each example.
        ratio: how many times the smaller set the larger one is, rounded, at least one.
        elements: there are, 0 to elements - 1, at least as many as both sets hold.
    """

    first: Literal["smaller", "larger", "either"] = "either"
    ratio: int = 4
    elements: int = 128
    answers: int = 2

    def __post_init__(self) -> None:
        if self.first not in ("smaller", "larger", "either"):
            raise ValueError(f"first is {self.first!r}; it is 'smaller', 'larger' or 'either'")
        if self.ratio < 1:
            raise ValueError(f"ratio is {self.ratio}; the larger set is 1 or more times the other")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written; the answers are 0 and 1."""
        return (*map(str, range(self.elements)), "|", "=")

    @property
    def vocab(self) -> int:
        """Return the elements, | and =."""
        return self.elements + 2

    def sizes(self, length: int) -> tuple[int, int]:
        """Return how many elements the smaller and the larger set of an example have.

        Raises:
            ValueError: for a length that leaves a set empty, or needs more elements than there are.
        """
        both = length - 2
        if not 2 <= both <= self.elements:
            raise ValueError(
                f"length is {length}; two sets of {self.elements} elements, | and = take from 4 to "
                f"{self.elements + 2} tokens"
            )
        smaller = max(1, round(both / (1 + self.ratio)))
        return smaller, both - smaller

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` pairs of sets that fill `length` tokens."""
        small, large = self.sizes(length)
        drawn = torch.rand(batch, self.elements, generator=generator).argsort(1)
        smaller, larger = drawn[:, :small], drawn[:, small : small + large]
        disjoint = torch.randint(2, (batch, 1), generator=generator)
        there = torch.randint(large, (batch, 1), generator=generator)
        here = torch.randint(small, (batch, 1), generator=generator)
        shared = larger.scatter(1, there, smaller.gather(1, here))
        larger = torch.where(disjoint == 1, larger, shared)
        swapped = torch.rand(batch, 1, generator=generator) < 0.5
        if self.first != "either":
            swapped = torch.full_like(swapped, self.first == "larger")
        between, end = (torch.full((batch, 1), self.elements + i) for i in (0, 1))
        rising = torch.cat([smaller, between, larger, end], 1)
        falling = torch.cat([larger, between, smaller, end], 1)
        tokens = torch.where(swapped, falling, rising)
        mask = (torch.arange(length) == length - 1).expand(batch, length)
        held = torch.where(swapped, large, small).expand(batch, length)
        return Examples(tokens, torch.where(mask, disjoint, tokens), mask, held)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: intersect."""
        between = tokens.index(self.elements)
        common = set(tokens[:between]) & set(tokens[between + 1 : -1])
        return [*tokens[:-1], int(not common)]
