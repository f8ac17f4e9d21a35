"""Delayed match to sample: whether a symbol is the one N - 1 places before; here N is three.

tokens   1 0 1 1 0 1 1
targets  . . 1 0 0 1 0      1 for a match; counts once there are N

N counts both ends: 2 compares neighbours. After Khajehabdollahi et al., "Emergent mechanisms for
long timescales depend on training curriculum and affect performance in memory tasks", 2023,
arXiv:2309.12927, who ask at the end of the stream alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.last_bits import LastBits


@dataclass(frozen=True)
class DelayedMatch(LastBits):
    """Bits, each as likely as the other, and whether each is the same as an earlier one.

    Args:
        n: places from the sample to the match, both counted, at least two.
    """

    least: ClassVar[int] = 2

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
