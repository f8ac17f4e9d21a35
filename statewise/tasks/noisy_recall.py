"""Noisy recall: pairs of a key and a value scattered among noise, and then each key again.

tokens   y c 2 x x a 1 z b 1 y   b c a
targets  . . . . . . . . . . .   1 2 1      only what is asked counts

A longer example has more noise and no more to remember, so that what forgets at one rate, whatever
it reads, fails at lengths beyond those it was trained at. After the noisy recall of Poli et al.,
"Mechanistic design and scaling of hybrid architectures", 2024, arXiv:2403.17844; there
keys are asked wherever they come again, here all at the end. How many tokens back the value stood
is the difficulty.

Learned in half a minute by one thread: `statewise.analysis.learning.learn` with 600 steps of 3e-3,
first=12 and length=32 took two layers of 64 to 0.99 at 32 tokens (GLA, retention; seed 100), each
behind a convolution of four taps; without those, 800 steps ended at 0.34.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class NoisyRecall:
    """Keys drawn without, values and noise with repetition; each key is asked once.

    Args:
        pairs: how many, at least one.
        keys: symbols 0 to keys - 1, at least as many as pairs.
        answers: values, the symbols after the keys.
        noise: symbols after the values that are neither, at least one.
    """

    pairs: int = 4
    keys: int = 16
    answers: int = 16
    noise: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs is {self.pairs}, of {self.keys} keys; it should be from 1 on")
        if self.noise < 1:
            raise ValueError(f"noise is {self.noise}; there should be at least 1 such symbol")

    @property
    def vocab(self) -> int:
        """Return the keys, the values and the noise."""
        return self.keys + self.answers + self.noise

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, three or more for each pair."""
        pairs, read = self.pairs, length - self.pairs
        if length < 3 * pairs:
            raise ValueError(f"length is {length}; {pairs} pairs and questions need {3 * pairs}")
        tokens = (
            self.keys
            + self.answers
            + torch.randint(self.noise, (batch, length), generator=generator)
        )
        keys = torch.rand(batch, self.keys, generator=generator).argsort(1)[:, :pairs]
        values = torch.randint(self.answers, keys.shape, generator=generator) + self.keys
        # Which of the things that are read, noise or pairs, are pairs; each before it adds a token.
        things = torch.rand(batch, read - pairs, generator=generator).argsort(1)[:, :pairs]
        places = things.sort(1).values + torch.arange(pairs)
        tokens.scatter_(1, places, keys).scatter_(1, places + 1, values)
        order = torch.rand(keys.shape, generator=generator).argsort(1)
        tokens[:, read:] = keys.gather(1, order)
        targets = torch.cat([tokens[:, :read], values.gather(1, order)], 1)
        mask = (torch.arange(length) >= read).expand(batch, length)
        back = torch.zeros_like(tokens)
        back[:, read:] = torch.arange(read, length) - places.gather(1, order) - 1
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a dictionary of what follows each key that is read."""
        read = tokens[: len(tokens) - self.pairs]
        values = {key: read[at + 1] for at, key in enumerate(read) if key < self.keys}
        return read + [values[key] for key in tokens[len(read) :]]
