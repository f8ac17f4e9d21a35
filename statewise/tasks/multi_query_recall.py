"""Multi-query associative recall (MQAR): pairs, then each key again somewhere, once.

tokens   c 2  a 1  b 1   b . . . . . c . a . . .
targets  . .  . .  . .   1 . . . . . 2 . 1 . . .      only what is asked counts

The pairs come first, as many whatever the length. The questions stand in the rest, every other
token at most, more of them near the pairs: slot n = 1, 2, ... is taken with a chance proportional
to n^(power - 1). What is no question is blank, or noise. How many tokens back the value stood is
the difficulty. Arora et al., "Zoology", 2023, arXiv:2312.04927.

Differs: values are drawn with repetition, so that chance is exactly one in `answers`.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class MultiQueryRecall:
    """Keys drawn without, values with repetition; each key is asked once.

    Args:
        pairs: how many, at least one.
        keys: symbols 0 to keys - 1, at least as many as pairs.
        answers: values, the symbols after the keys.
        power: of the law by which questions are spread, more than 0; 1 spreads them evenly.
        noise: whether any key or value, not asked and not counted, stands where else a blank, the
            last symbol, would.
    """

    pairs: int = 8
    keys: int = 64
    answers: int = 64
    power: float = 0.01
    noise: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs is {self.pairs}; it should be from 1 to the {self.keys} keys")
        if not self.power > 0:
            raise ValueError(f"power is {self.power}; it should be more than 0")

    @property
    def vocab(self) -> int:
        """Return the keys, the values and the blank."""
        return self.keys + self.answers + 1

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, four or more for each pair."""
        shown = 2 * self.pairs
        if length < 2 * shown:
            raise ValueError(f"length is {length}; {self.pairs} pairs need at least {2 * shown}")
        keys = torch.rand(batch, self.keys, generator=generator).argsort(1)[:, : self.pairs]
        values = torch.randint(self.answers, keys.shape, generator=generator) + self.keys
        near = torch.arange(1, (length - shown) // 2 + 1).double() ** (self.power - 1)
        slots = near.expand(batch, -1).multinomial(self.pairs, generator=generator)
        asked = shown + 2 * slots
        if self.noise:
            tokens = torch.randint(self.vocab - 1, (batch, length), generator=generator)
        else:
            tokens = torch.full((batch, length), self.vocab - 1)
        tokens[:, :shown] = torch.stack([keys, values], 2).flatten(1)
        tokens.scatter_(1, asked, keys)
        targets = tokens.scatter(1, asked, values)
        mask = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, asked, True)
        back = torch.zeros_like(tokens).scatter(1, asked, asked - torch.arange(1, shown, 2))
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a dictionary."""
        shown = 2 * self.pairs
        values = dict(zip(tokens[:shown:2], tokens[1:shown:2], strict=True))
        return tokens[:shown] + [values.get(token, token) for token in tokens[shown:]]
