"""Dyck words: which closing bracket is legal next, in brackets of several kinds and bounded depth.

tokens   ( [ ] ( ) ) [ ( ) ]
targets  . . ) . ) $ . . ] $      $ where nothing is open; asked after each closing bracket
depth    1 2 1 2 1 0 1 2 1 0      what is open, which is the difficulty

After an opening bracket the answer is its own closing one, which is no question of memory. Words of
bounded depth are a regular language, and a star-free one; they take a number of states that grows
with kinds to the power of depth, but only depth times log2(kinds) bits. After Hewitt et al., "RNNs
can generate bounded hierarchical languages with optimal memory", 2020, arXiv:2010.07515.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples

PAIRS = "()[]{}<>"


@dataclass(frozen=True)
class Dyck:
    """Beginnings of words in which every bracket that opens is as likely to close as another to.

    In the long run each depth below the bound is met equally often after a closing bracket, so that
    $ is one answer in `depth`.

    Args:
        kinds: of brackets, at least one: 0 to kinds - 1 open, the next `kinds` close, then comes $.
        depth: brackets open at once at most, at least one.
    """

    kinds: int = 2
    depth: int = 4

    def __post_init__(self) -> None:
        if self.kinds < 1 or self.depth < 1:
            raise ValueError(
                f"kinds is {self.kinds} and depth is {self.depth}; both need 1 or more"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written; past four kinds with numbers."""
        pairs = [PAIRS[i : i + 2] for i in range(0, 8, 2)]
        kinds = range(self.kinds)
        opening = [pairs[i][0] if i < 4 else f"({i}" for i in kinds]
        closing = [pairs[i][1] if i < 4 else f"){i}" for i in kinds]
        return (*opening, *closing, "$")

    @property
    def vocab(self) -> int:
        """Return the brackets and $."""
        return 2 * self.kinds + 1

    @property
    def answers(self) -> int:
        """Return how many answers there are: the closing brackets, where two fit, and $."""
        return self.kinds + 1 if self.depth > 1 else 1

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` beginnings of words, of `length` brackets."""
        kinds = torch.randint(self.kinds, (batch, length), generator=generator)
        opens = torch.rand(batch, length, generator=generator) < 0.5
        # Row by row what is open, the outermost first; place 0 is never filled and answers $.
        stack = torch.full((batch, self.depth + 1), self.kinds)
        tokens, targets, depths = (torch.zeros(batch, length, dtype=torch.long) for _ in range(3))
        mask = torch.zeros(batch, length, dtype=torch.bool)
        depth, rows = torch.zeros(batch, dtype=torch.long), torch.arange(batch)
        for time in range(length):
            opening = (depth == 0) | ((depth < self.depth) & opens[:, time])
            closing = self.kinds + stack[rows, depth]
            tokens[:, time] = torch.where(opening, kinds[:, time], closing)
            depth = depth + torch.where(opening, 1, -1)
            stack[rows, depth] = torch.where(opening, kinds[:, time], stack[rows, depth])
            targets[:, time] = self.kinds + stack[rows, depth]
            mask[:, time], depths[:, time] = ~opening, depth
        return Examples(tokens, targets, mask, depths)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a stack."""
        stack, answers = [2 * self.kinds], []
        for token in tokens:
            if token < self.kinds:
                stack.append(self.kinds + token)
            else:
                stack.pop()
            answers.append(stack[-1])
        return answers
