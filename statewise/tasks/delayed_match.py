"""Delayed match to sample: whether a symbol is the one N - 1 places before; here N is three.

tokens   1 0 1 1 0 1 1
targets  . . 1 0 0 1 0      1 for a match; counts once there are N

N counts both ends: 2 compares neighbours. After Khajehabdollahi et al., "Emergent mechanisms for
long timescales depend on training curriculum and affect performance in memory tasks", 2023,
arXiv:2309.12927, who ask at the end of the stream alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class DelayedMatch:
    """Bits, each as likely as the other, and whether each is the same as an earlier one.

    Args:
        n: places from the sample to the match, both counted, at least two.
    """

    n: int = 3
    vocab: int = 2
    answers: int = 2

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"n is {self.n}; a sample and its match are 2 places or more")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` bits.

        Raises:
            ValueError: for a length below n, where nothing is asked.
        """
        if length < self.n:
            raise ValueError(f"length is {length}; no sample is {self.n} places before its match")
        tokens = torch.randint(2, (batch, length), generator=generator)
        mask = (torch.arange(length) >= self.n - 1).expand(batch, length)
        return Examples(tokens, self.targets(tokens), mask)

    def targets(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
        """Return the matches of bits, zeros before them: one stream can be asked for many n."""
        answers = torch.zeros_like(tokens)
        answers[:, self.n - 1 :] = tokens[:, self.n - 1 :] == tokens[:, : 1 - self.n]
        return answers

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: look back."""
        before = self.n - 1
        matches = [int(tokens[i] == tokens[i - before]) for i in range(before, len(tokens))]
        return [0] * before + matches
