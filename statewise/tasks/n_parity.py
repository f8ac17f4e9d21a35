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

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class NParity:
    """Bits, each as likely as the other, and the parity of the last few.

    Args:
        n: how many, at least one.
    """

    n: int = 3
    vocab: int = 2
    answers: int = 2

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is {self.n}; the parity is of 1 bit or more")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` bits.

        Raises:
            ValueError: for a length below n, where nothing is asked.
        """
        if length < self.n:
            raise ValueError(f"length is {length}; the parity of {self.n} bits needs as many")
        tokens = torch.randint(2, (batch, length), generator=generator)
        mask = (torch.arange(length) >= self.n - 1).expand(batch, length)
        return Examples(tokens, self.targets(tokens), mask)

    def targets(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch time"]:
        """Return the parities of bits, zeros before them: one stream can be asked for many n."""
        counts = torch.nn.functional.pad(tokens.cumsum(1), (self.n, 0))
        return (counts[:, self.n :] - counts[:, : -self.n]) % 2

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: look at the last few."""
        return [sum(tokens[max(0, end - self.n) : end]) % 2 for end in range(1, len(tokens) + 1)]
