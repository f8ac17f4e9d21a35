"""Recall of one pair in three readings: once, with the question first, or twice as a whole.

once      . . . . . . . . c 2 a 1 b 2 ? a
question  . . . . . . ? a c 2 a 1 b 2 ? a
twice     c 2 a 1 b 2 ? a c 2 a 1 b 2 ? a
targets   . . . . . . . . . . . . . . . 1      only the last one counts

Whoever knows what is asked before the pairs come has to remember one of them, and else all. Blanks
stand before, so that all readings are as long. How many tokens back the value stood is the
difficulty. After the prompts of Arora et al., "Just read twice: closing the recall gap for
recurrent language models", 2024, arXiv:2407.05483.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from statewise.tasks.examples import Examples

Reading = Literal["once", "question", "twice"]
READINGS: tuple[Reading, ...] = get_args(Reading)


@dataclass(frozen=True)
class ReadTwice:
    """Keys drawn without, values with repetition; one of the keys is asked.

    Args:
        reading: the pairs once, the question before them too, or all twice; "any" draws one of the
            three for each example.
        pairs: how many, at least one.
        keys: symbols 0 to keys - 1, at least as many as pairs.
        answers: values, the symbols after the keys.
    """

    reading: Reading | Literal["any"] = "any"
    pairs: int = 8
    keys: int = 16
    answers: int = 16

    def __post_init__(self) -> None:
        if self.reading not in (*READINGS, "any"):
            raise ValueError(f"reading is {self.reading!r}; it is any or one of {READINGS}")
        if not 1 <= self.pairs <= self.keys:
            raise ValueError(f"pairs is {self.pairs}; it should be from 1 to the {self.keys} keys")

    @property
    def vocab(self) -> int:
        """Return the keys, the values, the question mark and the blank."""
        return self.keys + self.answers + 2

    @property
    def length(self) -> int:
        """Return the tokens of the longest reading that is drawn."""
        once = 2 * self.pairs + 2
        return {"once": once, "question": once + 2}.get(self.reading, 2 * once)

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples, blanks before them up to `length` tokens.

        Raises:
            ValueError: for a length that a reading does not fit into.
        """
        if length < self.length:
            raise ValueError(
                f"length is {length}; {self.pairs} pairs, read {self.reading!r}, need {self.length}"
            )
        keys = torch.rand(batch, self.keys, generator=generator).argsort(1)[:, : self.pairs]
        values = torch.randint(self.answers, keys.shape, generator=generator) + self.keys
        which = torch.randint(self.pairs, (batch, 1), generator=generator)
        drawn = torch.randint(len(READINGS), (batch, 1), generator=generator)
        if self.reading != "any":
            drawn = torch.full_like(drawn, READINGS.index(self.reading))
        question = torch.cat([torch.full_like(which, self.vocab - 2), keys.gather(1, which)], 1)
        once = torch.cat([torch.stack([keys, values], 2).flatten(1), question], 1)
        read = once.shape[1] + torch.tensor([0, 2, once.shape[1]])[drawn]
        before = once.new_full((batch, length), self.vocab - 1)
        tokens = torch.cat([before, once, once], 1)[:, -length:]
        tokens = torch.where(torch.arange(length) < length - read, self.vocab - 1, tokens)
        mask = (torch.arange(length) == length - 1).expand(batch, length)
        answers = values.gather(1, which)
        back = mask * 2 * (self.pairs - which)
        return Examples(tokens, torch.where(mask, answers, tokens), mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a dictionary of what stands before the last question."""
        pairs = tokens[-2 * self.pairs - 2 : -2]
        return [*tokens[:-1], dict(zip(pairs[::2], pairs[1::2], strict=True))[tokens[-1]]]
