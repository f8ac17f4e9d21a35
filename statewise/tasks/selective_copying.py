"""Selective copying: symbols scattered among blanks, and then wanted in their order.

tokens   . 2 . . 0 . 2 . ? ? ?
targets  . . . . . . . . 2 0 2      only what is asked counts

How many there are does not grow with the length, but where they stand is not known before they are
read: what cannot choose what it remembers fails. How many tokens back one stood is the difficulty.
Gu and Dao, "Mamba", 2023, arXiv:2312.00752, sections 3.1 and 4.1.1; after Jing et al., 2019,
arXiv:1706.02761.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class SelectiveCopying:
    """Symbols drawn with repetition, each place as likely as the others.

    Args:
        items: symbols to copy, at least one.
        answers: which there are, 0 to answers - 1; blank and question are the two after them.
    """

    items: int = 16
    answers: int = 14

    def __post_init__(self) -> None:
        if self.items < 1:
            raise ValueError(f"items is {self.items}; there should be at least 1 to copy")

    @property
    def vocab(self) -> int:
        """Return the symbols, the blank and the question."""
        return self.answers + 2

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, two or more for each item."""
        read = length - self.items
        if read < self.items:
            raise ValueError(f"length is {length}; {self.items} items need {2 * self.items}")
        items = torch.randint(self.answers, (batch, self.items), generator=generator)
        places = torch.rand(batch, read, generator=generator).argsort(1)[:, : self.items].sort(1)
        tokens = torch.full((batch, length), self.answers)
        tokens.scatter_(1, places.values, items)
        tokens[:, read:] = self.answers + 1
        targets = torch.cat([tokens[:, :read], items], 1)
        mask = (torch.arange(length) >= read).expand(batch, length)
        back = torch.zeros_like(tokens)
        back[:, read:] = torch.arange(read, length) - places.values
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a list of what is not blank."""
        read = tokens[: len(tokens) - self.items]
        return read + [token for token in read if token < self.answers]
