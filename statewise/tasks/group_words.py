"""Group words: the product of all elements so far, in a group of permutations; here S3.

elements 0: 012   1: 021   2: 102   3: 120   4: 201   5: 210     in S3, where each place goes

tokens   1    3    5    1
as such  021  120  210  021
targets  1    2    3    5           every one counts
as such  021  102  120  210

A token acts after those before it: place i goes where the token sends what i was sent to before.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class GroupWords:
    """Permutations, each as likely as the others, and the product of each prefix.

    Args:
        places: what is permuted; of three or more the order of a word matters.
    """

    places: int = 3

    @cached_property
    def elements(self) -> list[tuple[int, ...]]:
        """The group, sorted: a token is a place in this list."""
        return list(permutations(range(self.places)))

    @property
    def vocab(self) -> int:
        """Return the elements there are."""
        return len(self.elements)

    @property
    def answers(self) -> int:
        """Return how many answers there are."""
        return len(self.elements)

    @cached_property
    def _table(self) -> Int[Tensor, "element element"]:
        """Return the product for each element so far and each token."""
        every = torch.tensor(self.elements)
        weights = self.places ** torch.arange(self.places)
        number = torch.zeros(self.places**self.places, dtype=torch.long)
        number[(every * weights).sum(-1)] = torch.arange(len(every))
        # product[a, b, i] = b(a(i))
        product = every.T[every].permute(0, 2, 1)
        return number[(product * weights).sum(-1)]

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` elements."""
        tokens = torch.randint(self.vocab, (batch, length), generator=generator)
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
