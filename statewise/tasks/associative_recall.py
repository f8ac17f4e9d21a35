"""Associative recall: pairs of a key and a value, and then keys whose values are asked for.

tokens   c 2  a 1  b 1   b a c b c a
targets  . .  . .  . .   1 1 2 1 2 1      only what is asked counts

A quarter of the length is pairs, each key once, and the last half is questions: a longer example
has more to remember. After Arora et al., "Zoology", 2023, arXiv:2312.04927, with several questions.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class AssociativeRecall:
    """Keys drawn without, values and questions with repetition.

    Args:
        keys: symbols 0 to keys - 1, at least as many as pairs.
        answers: values, the symbols after the keys.
    """

    keys: int = 64
    answers: int = 8

    @property
    def vocab(self) -> int:
        """Return the keys and the values."""
        return self.keys + self.answers

    def pairs(self, length: int) -> int:
        """Return how many pairs an example has.

        Raises:
            ValueError: for a length that leaves no pair, or needs more keys than there are.
        """
        if not 4 <= length < 4 * (self.keys + 1):
            raise ValueError(
                f"associative recall with {self.keys} keys has from 4 to {4 * self.keys + 3} "
                f"tokens, not {length}"
            )
        return length // 4

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens."""
        pairs = self.pairs(length)
        keys = torch.rand(batch, self.keys, generator=generator).argsort(1)[:, :pairs]
        values = torch.randint(self.answers, (batch, pairs), generator=generator) + self.keys
        asked = torch.randint(pairs, (batch, length - 2 * pairs), generator=generator)
        shown = torch.stack([keys, values], 2).flatten(1)
        tokens = torch.cat([shown, keys.gather(1, asked)], 1)
        targets = torch.cat([shown, values.gather(1, asked)], 1)
        mask = (torch.arange(length) >= 2 * pairs).expand(batch, length)
        return Examples(tokens, targets, mask)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a dictionary."""
        shown = 2 * self.pairs(len(tokens))
        values = dict(zip(tokens[:shown:2], tokens[1:shown:2], strict=True))
        return tokens[:shown] + [values[key] for key in tokens[shown:]]
