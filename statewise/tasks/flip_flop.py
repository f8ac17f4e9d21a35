"""Flip-flop: bits are written, others are to be ignored, and what was written last is read.

tokens   w1 i0 r  i1 i1 w0 i1 r
targets  .  .  1  .  .  .  .  0      only what is asked counts
back     .  .  2  .  .  .  .  2      tokens since it was written, which is the difficulty

The least that a memory must do, and the least star-free language with a reset: a gate that is open
or shut does it at any length. After Liu et al., "Exposing attention glitches with flip-flop
language modeling", 2023, arXiv:2306.00946, whose instructions and bits are tokens each.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples

READ = 4


@dataclass(frozen=True)
class FlipFlop:
    """Instructions that begin with a bit written, and end with a question.

    Args:
        ignored: how likely each of those between is to be ignored, at least 0 and below 1; of the
            others every second one writes, in the mean.
    """

    ignored: float = 0.8
    vocab: int = 5
    answers: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.ignored < 1:
            raise ValueError(f"ignored is {self.ignored}; it should be at least 0 and below 1")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written; the answers are the first two."""
        return ("w0", "w1", "i0", "i1", "r")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens.

        Raises:
            ValueError: for a length below 2: what is read has been written before.
        """
        if length < 2:
            raise ValueError(f"length is {length}; a bit that is written and read needs 2")
        bits = torch.randint(2, (batch, length), generator=generator)
        kinds = torch.rand(batch, length, generator=generator)
        writes, reads = kinds < (1 - self.ignored) / 2, kinds >= (1 + self.ignored) / 2
        writes[:, 0], reads[:, 0] = True, False
        writes[:, -1], reads[:, -1] = False, True
        tokens = torch.where(writes, bits, bits + 2).masked_fill(reads, READ)
        at = torch.arange(length).expand(batch, length)
        written = at.where(writes, 0).cummax(1).values
        return Examples(tokens, bits.gather(1, written), reads, at - written)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a bit that is written over."""
        held, answers = 0, []
        for token in tokens:
            held = token if token < 2 else held
            answers.append(held)
        return answers
