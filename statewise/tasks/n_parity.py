"""N-parity: whether the ones among the last N bits are odd in number; here of three.

tokens   1 0 1 1 0 1 1
targets  . . 0 0 0 0 0      counts once there are N
tokens   0 1 1 1 0 0 1
targets  . . 0 1 0 1 1

A state that only turns over at ones is no help: what leaves the window must be turned back, so that
all N bits are held. After Khajehabdollahi et al., "Emergent mechanisms for long timescales depend
on training curriculum and affect performance in memory tasks", 2023, arXiv:2309.12927, who ask at
the end of the stream alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from statewise.tasks.last_bits import LastBits


@dataclass(frozen=True)
class NParity(LastBits):
    """Bits, each as likely as the other, and the parity of the last few.

    Args:
        n: how many, at least one.
    """

    def targets(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
        """Return the parities of bits, zeros before them: one stream can be asked for many n."""
        counts = torch.nn.functional.pad(tokens.cumsum(1), (self.n, 0))
        return (counts[:, self.n :] - counts[:, : -self.n]) % 2

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: look at the last few."""
        return [sum(tokens[max(0, end - self.n) : end]) % 2 for end in range(1, len(tokens) + 1)]
