"""Planted definitions: a long text with a few words defined somewhere, and asked for far below.

    the mill of the sea li
    zomuka means 7.              a definition
    ke no other in the lan
    ribeta means 2.              another
    d, and yet it was so o
    zomuka means 7.              asked: after "means " comes a 7, which this text alone tells
    nly for the shortest w
    ribeta means 2.              asked, as many bytes behind its definition as the other
    hile.

Tokens are bytes, and the target of each is the next, as in language modelling; only the digits that
are asked count. How many bytes back the answer was read is the difficulty.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from statewise.tasks.examples import Examples

SENTENCE = re.compile(rb"\n([a-z]{6}) means ([0-9])\.")
BYTES = len("\nzomuka means 7.\n")
"""Of a sentence: a definition, or a question with its answer."""

DIGIT = BYTES - 3
"""Where in a sentence the answer is."""

CONSONANTS, VOWELS = b"bdfgklmnprstvz", b"aeiou"


def made_up_text(words: int, seed: int) -> str:
    """Return words of one or two syllables, some a thousand times as frequent as others.

    Args:
        words: how many, the same one as often as Zipf's law says: the n-th proportional to 1/n.
        seed: decides which.
    """
    generator = torch.Generator().manual_seed(seed)
    syllables = [chr(c) + chr(v) for c in CONSONANTS for v in VOWELS]
    kinds = syllables + [a + b for a in syllables for b in syllables]
    order = torch.randperm(len(kinds), generator=generator)[:1000]
    often = 1 / torch.arange(1.0, 1001.0)
    drawn = order[often.multinomial(words, replacement=True, generator=generator)]
    return " ".join(kinds[at] for at in drawn.tolist())


@dataclass(frozen=True)
class PlantedDefinitions:
    """Names of three syllables and digits, drawn anew for each example.

    Args:
        definitions: of an example, at least one; each is asked once.
        text: what they are planted in, read from a random place on and in a circle; a made-up one
            of 20,000 words, always the same, if absent.
    """

    definitions: int = 4
    text: str | None = None

    def __post_init__(self) -> None:
        most = len(CONSONANTS) * len(VOWELS)
        if not 1 <= self.definitions <= most:
            raise ValueError(f"definitions is {self.definitions}; it should be from 1 to {most}")
        if self.text is not None and not self.text:
            raise ValueError("text is ''; there should be something to plant definitions in")
        if self.text and (found := SENTENCE.search(self.text.encode())):
            raise ValueError(f"text has {found[0]} already, which would pass for a definition")

    @property
    def vocab(self) -> int:
        """Return the bytes there are."""
        return 256

    @property
    def answers(self) -> int:
        """Return the digits there are."""
        return 10

    @cached_property
    def _bytes(self) -> UInt8[Tensor, " byte"]:
        text = made_up_text(20_000, seed=0) if self.text is None else self.text
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    def reach(self, length: int) -> tuple[int, int]:
        """Return the least and the greatest distance in bytes that `length` tokens have room for.

        Raises:
            ValueError: if there is none, for the definitions fill the text.
        """
        least = self.definitions * BYTES
        if length + 1 < 2 * least:
            raise ValueError(
                f"length is {length}; {self.definitions} definitions and as many questions "
                f"need {2 * least - 1}"
            )
        return least, length + 1 - least

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, each distance as likely as the others."""
        least, most = self.reach(length)
        apart = torch.randint(least, most + 1, (batch,), generator=generator)
        return self._draw(apart, length, generator)

    def draw_at(
        self, batch: int, length: int, distance: int, generator: torch.Generator
    ) -> Examples:
        """Return `batch` examples with all questions at one distance from their definitions."""
        least, most = self.reach(length)
        if not least <= distance <= most:
            raise ValueError(f"distance is {distance}; at {length} tokens it is {least} to {most}")
        return self._draw(torch.full((batch,), distance), length, generator)

    def distances(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, " batch"]:
        """Return how far below its definition each question of an example is, in bytes."""
        starts = [
            [said.start() for said in SENTENCE.finditer(bytes(row))] for row in tokens.tolist()
        ]
        return torch.tensor([row[self.definitions] - row[0] for row in starts])

    def _draw(
        self, apart: Int[Tensor, " batch"], length: int, generator: torch.Generator
    ) -> Examples:
        batch, count, size = len(apart), self.definitions, length + 1
        # The definitions lie in one window and the questions in another, which begins `apart` bytes
        # behind it and so cannot overlap it.
        window = torch.minimum(apart, size - apart)
        spare = torch.rand(batch, count + 1, generator=generator)
        before = (spare[:, :1] * (size - apart - window + 1)[:, None]).long()
        between = (spare[:, 1:].sort(1).values * (window - count * BYTES + 1)[:, None]).long()
        starts = before + between + torch.arange(count) * BYTES
        starts = torch.cat([starts, starts + apart[:, None]], 1)
        planted = (starts[..., None] + torch.arange(BYTES)).flatten(1)
        free = torch.ones(batch, size, dtype=torch.bool).scatter(1, planted, False)
        begin = torch.randint(len(self._bytes), (batch, 1), generator=generator)
        document = self._bytes[(begin + free.cumsum(1)) % len(self._bytes)].long()
        document.scatter_(1, planted, self._sentences(batch, generator).repeat(1, 2))
        asked = starts[:, count:] + DIGIT - 1
        mask = torch.zeros(batch, length, dtype=torch.bool).scatter(1, asked, True)
        # A question ends one byte above its answer.
        return Examples(document[:, :-1], document[:, 1:], mask, mask * (apart[:, None] - 1))

    def _sentences(self, batch: int, generator: torch.Generator) -> Int[Tensor, "batch sentences"]:
        """Return the definitions of each example, one after another."""
        kinds = len(CONSONANTS) * len(VOWELS)
        written = torch.tensor(list(b"\n?????? means ?.\n")).repeat(batch, self.definitions, 1)
        # The first syllables of an example differ, so its names do.
        first = torch.rand(batch, kinds, generator=generator).argsort(1)[:, : self.definitions]
        others = torch.randint(kinds, (*first.shape, 2), generator=generator)
        syllables = torch.cat([first[..., None], others], 2)
        written[..., 1:7:2] = torch.tensor(list(CONSONANTS))[syllables // len(VOWELS)]
        written[..., 2:7:2] = torch.tensor(list(VOWELS))[syllables % len(VOWELS)]
        digits = torch.randint(self.answers, first.shape, generator=generator)
        written[..., DIGIT] = digits + ord("0")
        return written.flatten(1)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: look for where the same was said before."""
        answers, known = list(tokens), {}
        for said in SENTENCE.finditer(bytes(tokens)):
            name, at = said[1], said.start(2)
            if name in known:
                answers[at - 1] = known[name]
            else:
                known[name] = tokens[at]
        return answers
