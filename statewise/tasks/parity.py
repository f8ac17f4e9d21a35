"""Parity: whether the ones so far are odd in number.

tokens   1 0 1 1 0 1
targets  1 1 0 1 1 0      every one counts
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Parity:
    """Bits, each as likely as the other, and the parity of each prefix."""

    vocab: int = 2
    answers: int = 2

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` bits."""
        tokens = torch.randint(2, (batch, length), generator=generator)
        return Examples(tokens, tokens.cumsum(1) % 2, torch.ones_like(tokens, dtype=torch.bool))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: turn over at every one."""
        odd, answers = False, []
        for bit in tokens:
            odd = odd != bool(bit)
            answers.append(int(odd))
        return answers
