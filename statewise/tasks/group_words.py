"""Group words: the product of all elements so far, in a group of permutations; here S3.

elements 0: 012   1: 021   2: 102   3: 120   4: 201   5: 210     in S3, where each place goes

tokens   1    3    5    1
as such  021  120  210  021
targets  1    2    3    5           every one counts
as such  021  102  120  210

A token acts after those before it: place i goes where the token sends what i was sent to before.

Other groups of permutations go by their names: S4 and S5 hold all of so many places, A5 the even
ones, Z60 the rotations. Cyclic groups and those within S4 are solvable; A5, S5 and larger ones are
not, and their words are complete for NC1 (Barrington, 1989): unless that class is TC0, transformers
and diagonal recurrences of constant depth and logarithmic precision cannot track them, though Z60,
with as many elements as A5, they can. After Merrill et al., "The illusion of state in state-space
models", 2024, arXiv:2404.08819, section 5. Tokens that move few places ask less of each step:
Grazzi et al., 2024, arXiv:2411.12537.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.examples import Examples

Group = Literal["symmetric", "alternating", "cyclic"]
GROUPS: dict[str, Group] = {"S": "symmetric", "A": "alternating", "Z": "cyclic"}


@dataclass(frozen=True)
class GroupWords:
    """Permutations, each as likely as the others, and the product of each prefix.

    Args:
        places: what is permuted, at least two; of three or more the order of a word matters.
        group: all permutations, the even ones, or the rotations.
        moved: the most places that a token moves, where not all of the group are tokens; 2 leaves
            the swaps and standing still.
    """

    places: int = 3
    group: Group = "symmetric"
    moved: int | None = None

    def __post_init__(self) -> None:
        if self.group not in GROUPS.values():
            raise ValueError(f"group is {self.group!r}; there are {', '.join(GROUPS.values())}")
        least = 3 if self.group == "alternating" else 2
        if self.places < least:
            raise ValueError(
                f"places is {self.places}; the {self.group} group needs {least} or more"
            )
        if len(self.drawn) < 2:
            raise ValueError(
                f"moved is {self.moved}; nothing in the {self.group} group of {self.places} places "
                "moves so few, but for the identity"
            )

    @classmethod
    def named(cls, name: str, moved: int | None = None) -> "GroupWords":
        """Return the words of a group by its name: S, A or Z and a number, such as A5.

        Raises:
            ValueError: for any other name.
        """
        letter, places = name[:1], name[1:]
        if letter not in GROUPS or not places.isdecimal():
            raise ValueError(f"name is {name!r}; groups are called S3, A5 or Z60, with any number")
        return cls(int(places), GROUPS[letter], moved)

    @property
    def solvable(self) -> bool:
        """Whether the group is solvable, so that a constant number of counters follows it."""
        return self.group == "cyclic" or self.places <= 4

    @cached_property
    def elements(self) -> list[tuple[int, ...]]:
        """The group, sorted: a token is a place in this list."""
        every = range(self.places)
        if self.group == "cyclic":
            return [tuple((i + by) % self.places for i in every) for by in every]
        return [p for p in permutations(every) if self.group == "symmetric" or _even(p)]

    @cached_property
    def drawn(self) -> list[int]:
        """The tokens that are drawn."""
        moves = [sum(i != to for i, to in enumerate(element)) for element in self.elements]
        return [i for i, move in enumerate(moves) if self.moved is None or move <= self.moved]

    @property
    def vocab(self) -> int:
        """Return the elements there are."""
        return len(self.elements)

    @property
    def answers(self) -> int:
        """Return how many answers there are: tokens that move few places reach all in time."""
        return len(self.elements)

    @cached_property
    def _table(self) -> Int[Tensor, "element element"]:
        """Return the product for each element so far and each token."""
        every = torch.tensor(self.elements)
        # Where the first place goes tells rotations apart; the last place follows from the others.
        told = 1 if self.group == "cyclic" else self.places - 1
        weights = self.places ** torch.arange(told)
        number = torch.zeros(self.places**told, dtype=torch.long)
        number[(every[:, :told] * weights).sum(-1)] = torch.arange(len(every))
        # product[a, b, i] = b(a(i))
        product = every.T[every[:, :told]].permute(0, 2, 1)
        return number[(product * weights).sum(-1)]

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` elements."""
        which = torch.randint(len(self.drawn), (batch, length), generator=generator)
        tokens = torch.tensor(self.drawn)[which]
        products, before = torch.empty_like(tokens), torch.zeros(batch, dtype=torch.long)
        for time in range(length):
            before = products[:, time] = self._table[before, tokens[:, time]]
        return Examples(tokens, products, torch.ones_like(tokens, dtype=torch.bool))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: send every place on, one token after another."""
        word, answers = tuple(range(self.places)), []
        for token in tokens:
            word = tuple(self.elements[token][place] for place in word)
            answers.append(self.elements.index(word))
        return answers


def _even(permutation: tuple[int, ...]) -> bool:
    """Return whether a permutation has an even number of pairs out of order."""
    return sum(a > b for a, b in combinations(permutation, 2)) % 2 == 0
