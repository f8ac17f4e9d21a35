"""A needle in a haystack: a number behind a mark, somewhere, wanted at the end.

tokens   a c b ! 7 0 7 c a a b c ? ? ?
targets  . . . . . . . . . . . . 7 0 7      only what is asked counts

Its place is 0 if the text begins with the mark, and 1 if the questions follow at once, so that
accuracy can be shown by length and place; how many tokens back it was is the difficulty. After the
passkey of Mohtashami and Jaggi, "Landmark attention", 2023, arXiv:2305.16300, with symbols for the
words.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Needle:
    """Hay and digits drawn with repetition.

    Args:
        digits: of the number, at least one.
        answers: which digits there are, 0 to answers - 1.
        hay: the symbols after the digits that the rest of the text is made of, at least one; mark
            and question are the two after them.
        lures: whether the rest has digits too, so that only the mark tells them from the number.
    """

    digits: int = 5
    answers: int = 10
    hay: int = 16
    lures: bool = False

    def __post_init__(self) -> None:
        for name, value in {"digits": self.digits, "hay": self.hay}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; a needle in a haystack needs at least 1")

    @property
    def vocab(self) -> int:
        """Return the digits, the hay, the mark and the question."""
        return self.answers + self.hay + 2

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, each place as likely as the others."""
        room = self._room(length)
        starts = torch.randint(room + 1, (batch,), generator=generator)
        return self._draw(starts, length, generator)

    def draw_at(
        self, batch: int, length: int, place: float, generator: torch.Generator
    ) -> Examples:
        """Return `batch` examples of `length` tokens with the needle at one place, from 0 to 1."""
        if not 0 <= place <= 1:
            raise ValueError(f"place is {place}; it should be from 0, the start, to 1, the end")
        starts = torch.full((batch,), round(place * self._room(length)))
        return self._draw(starts, length, generator)

    def places(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, " batch"]:
        """Return where the needle of each example is, from 0 to 1."""
        starts = (tokens == self.vocab - 2).int().argmax(1)
        return starts / max(self._room(tokens.shape[1]), 1)

    def _room(self, length: int) -> int:
        """Return how many symbols of hay an example has."""
        if length <= 2 * self.digits:
            raise ValueError(
                f"length is {length}; a needle of {self.digits} digits needs {2 * self.digits + 1}"
            )
        return length - 2 * self.digits - 1

    def _draw(
        self, starts: Int[Tensor, " batch"], length: int, generator: torch.Generator
    ) -> Examples:
        batch, least = len(starts), 0 if self.lures else self.answers
        tokens = torch.randint(least, self.vocab - 2, (batch, length), generator=generator)
        number = torch.randint(self.answers, (batch, self.digits), generator=generator)
        tokens.scatter_(1, starts[:, None], self.vocab - 2)
        tokens.scatter_(1, starts[:, None] + torch.arange(1, self.digits + 1), number)
        tokens[:, -self.digits :] = self.vocab - 1
        targets = tokens.clone()
        targets[:, -self.digits :] = number
        mask = (torch.arange(length) >= length - self.digits).expand(batch, length)
        back = mask * (length - self.digits - 1 - starts[:, None])
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: look for the mark."""
        start = tokens.index(self.vocab - 2) + 1
        return tokens[: -self.digits] + tokens[start : start + self.digits]
