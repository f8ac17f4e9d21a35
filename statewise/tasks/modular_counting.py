"""Modular counting: how many ones so far, modulo a number; here three.

tokens   1 1 0 1 1 0
targets  1 2 2 0 1 1      every one counts

Three, and not four, because a power of two is counted by states that only change signs.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class ModularCounting:
    """Bits, each as likely as the other, and the count of each prefix.

    Args:
        modulus: after how many ones the count is zero again, at least two.
    """

    modulus: int = 3

    def __post_init__(self) -> None:
        if self.modulus < 2:
            raise ValueError(f"modular counting needs a modulus of 2 or more, not {self.modulus}")

    @property
    def vocab(self) -> int:
        """Return the symbols: the answers have the bits among them."""
        return self.modulus

    @property
    def answers(self) -> int:
        """Return how many answers there are."""
        return self.modulus

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` bits."""
        tokens = torch.randint(2, (batch, length), generator=generator)
        counts = tokens.cumsum(1) % self.modulus
        return Examples(tokens, counts, torch.ones_like(tokens, dtype=torch.bool))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: go round once for every `modulus` ones."""
        count, answers = 0, []
        for bit in tokens:
            count = 0 if count + bit == self.modulus else count + bit
            answers.append(count)
        return answers
