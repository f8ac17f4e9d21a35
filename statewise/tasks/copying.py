"""Copying: a word, a delay, a question, and then the word again, or its reverse.

tokens   2 0 1 . . ? . . .
targets  . . . . . . 2 0 1      only the answers count
reverse  . . . . . . 1 0 2

Arjovsky et al., "Unitary evolution recurrent neural networks", 2016, arXiv:1511.06464:
10 symbols of 8 kinds, and a delay of T blanks with the question as the last of them, in T + 20
tokens. There the blanks before the answers count too, which all models soon predict. Without a
number of items the word takes what room there is, and is to be remembered with hardly a delay.
How many tokens back a symbol stood is the difficulty.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Copying:
    """Symbols drawn with repetition.

    Args:
        items: symbols to copy, at least one; if None, nearly half of the tokens.
        answers: which there are, 0 to answers - 1; blank and question are the two after them.
        reverse: whether the last is wanted first.
    """

    items: int | None = 10
    answers: int = 8
    reverse: bool = False

    def __post_init__(self) -> None:
        if self.items is not None and self.items < 1:
            raise ValueError(f"items is {self.items}; there should be at least 1 to copy")

    @property
    def vocab(self) -> int:
        """Return the symbols, the blank and the question."""
        return self.answers + 2

    def word(self, length: int) -> int:
        """Return how many symbols an example copies.

        Raises:
            ValueError: for a length without room for them twice, and for the question.
        """
        items = (length - 1) // 2 if self.items is None else self.items
        least = 2 * max(items, 1) + 1
        if length < least:
            raise ValueError(f"length is {length}; copying {max(items, 1)} items needs {least}")
        return items

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, all of the same delay."""
        items = self.word(length)
        word = torch.randint(self.answers, (batch, items), generator=generator)
        tokens = torch.full((batch, length), self.answers)
        tokens[:, :items] = word
        tokens[:, -items - 1] = self.answers + 1
        targets = tokens.clone()
        targets[:, -items:] = word.flip(1) if self.reverse else word
        mask = (torch.arange(length) >= length - items).expand(batch, length)
        back = torch.zeros_like(tokens)
        places = torch.arange(items).flip(0) if self.reverse else torch.arange(items)
        back[:, -items:] = torch.arange(length - items, length) - places
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a list, or a stack."""
        items = self.word(len(tokens))
        word = tokens[:items]
        return tokens[:-items] + (word[::-1] if self.reverse else word)
