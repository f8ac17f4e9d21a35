"""ListOps: the value of nested lists of smallest, largest, median and sum; asked at the end.

tokens   [MAX 2 9 [MIN 4 7 ] 0 [MED 1 5 8 2 ] ]
targets  .    . . .    . . . . .    . . . . . 9      only the last counts

[SM is the sum modulo ten, and the median of an even number of values is the mean of the middle two,
rounded down. After Nangia and Bowman, "ListOps", 2018, arXiv:1804.06028.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import torch

from statewise.tasks.examples import Examples, chooser

OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(median(values)),
    "[SM": lambda values: sum(values) % 10,
}
SYMBOLS = (*map(str, range(10)), *OPERATIONS, "]")


@dataclass(frozen=True)
class ListOps:
    """One list, as long as is asked; its depth is its difficulty.

    A bound on the depth is drawn for each, from the least that has room for the length.

    Args:
        depth: lists within each other at most, at least one.
        arguments: of a list at most, at least two, or there would be lengths that no list has.
    """

    depth: int = 8
    arguments: int = 5
    vocab: int = len(SYMBOLS)
    answers: int = 10
    symbols: tuple[str, ...] = SYMBOLS

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth is {self.depth}; a list itself is 1 deep")
        if self.arguments < 2:
            raise ValueError(f"arguments is {self.arguments}; lists need 2 or more")

    @cached_property
    def room(self) -> list[int]:
        """The most tokens of a value, by how deep it nests: a digit has one."""
        room = [1]
        for _ in range(self.depth):
            room.append(2 + self.arguments * room[-1])
        return room

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` lists of `length` tokens.

        Raises:
            ValueError: for a length below 3 or above what lists of this depth have room for.
        """
        if not 3 <= length <= self.room[-1]:
            raise ValueError(
                f"length is {length}; lists {self.depth} deep of {self.arguments} arguments have "
                f"from 3 to {self.room[-1]} tokens"
            )
        below = chooser(generator)
        least = bisect_left(self.room, length)
        bounds = [least + below(self.depth - least + 1) for _ in range(batch)]
        drawn = [self._list(length, bound, below) for bound in bounds]
        tokens = torch.tensor([words for words, _, _ in drawn]).reshape(batch, length)
        value, depth = torch.tensor([rest for _, *rest in drawn]).reshape(batch, 2).T
        last = (torch.arange(length) == length - 1).expand(batch, length)
        targets = torch.where(last, value[:, None], tokens)
        return Examples(tokens, targets, last, depth[:, None].expand(batch, length))

    def _list(
        self, length: int, depth: int, below: Callable[[int], int]
    ) -> tuple[list[int], int, int]:
        """Return the tokens of a list of at most some depth, its value, and its depth."""
        operation = SYMBOLS[opening := 10 + below(len(OPERATIONS))]
        words, values, deepest = [opening], [], 0
        for size in self._sizes(length - 2, self.room[depth - 1], below):
            if size == 1:
                inner, value, deep = [digit := below(10)], digit, 0
            else:
                inner, value, deep = self._list(size, depth - 1, below)
            words += inner
            values.append(value)
            deepest = max(deepest, deep)
        return [*words, len(SYMBOLS) - 1], OPERATIONS[operation](values), 1 + deepest

    def _sizes(self, total: int, room: int, below: Callable[[int], int]) -> list[int]:
        """Return how many tokens each argument takes: 1, or from 3 to `room`; `total` in all."""
        numbers = range(1, min(self.arguments, total) + 1)
        choices = [n for n in numbers if total == n or 2 <= total - n <= n * (room - 1)]
        number = choices[below(len(choices))]
        extra, sizes = total - number, []
        for rest in reversed(range(number)):
            least, most = max(0, extra - rest * (room - 1)), min(extra, room - 1)
            # No argument has two tokens: neither this one, nor one that is left with one more.
            while (more := least + below(most - least + 1)) in (1, extra - 1):
                pass
            sizes.append(1 + more)
            extra -= more
        # The first takes the most: any order is as good.
        return [sizes.pop(below(len(sizes))) for _ in range(number)]

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a stack of lists, one of which ends at every bracket."""
        open_lists: list[tuple[str, list[int]]] = [("", [])]
        for token in tokens:
            symbol = SYMBOLS[token]
            if symbol in OPERATIONS:
                open_lists.append((symbol, []))
            elif symbol == "]":
                operation, values = open_lists.pop()
                open_lists[-1][1].append(OPERATIONS[operation](values))
            else:
                open_lists[-1][1].append(token)
        return [*tokens[:-1], open_lists[0][1][0]]
