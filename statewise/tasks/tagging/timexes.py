"""Expressions of time in an inflected language: dates, times, durations and what recurs.

    words    melabu  dogi   na     tesit    karomu   po     ribam   sutelo
    tags     O       O      O      B-DATE   I-DATE   O      O       O
             a noun  verb   under  "third"  "May"    after  "five"  "mugs"

Every word but a preposition ends as its case asks, one of six, in one of two ways; a preposition
asks for one case, before times as before anything else. A number or a word such as "next" or
"every" stands before other nouns too, where it tells no time; two in five of these have an
adjective. What a sentence says is drawn, of what each type allows:

    DATE      a number, a month and perhaps a year; a day of the week; "next" or "last" and a unit
    TIME      a number and an hour, or a part of the day, perhaps of a day of the week
    DURATION  a number or "whole" and a unit
    SET       "every" and a unit, a day of the week or a part of the day
"""

import random
from itertools import chain
from typing import NamedTuple

from statewise.tasks.different_words import different

ENDINGS = (("", "u", "em", "ovi", "om", "e"), ("a", "y", "ou", "ie", "am", "i"))
"""Of the six cases, in either way."""

KINDS = {
    "number": 30, "month": 12, "weekday": 7, "unit": 5, "hour": 1, "part": 5, "near": 2, "whole": 1,
    "every": 1, "year": 10, "noun": 150, "verb": 60, "adjective": 60,
}  # fmt: skip
"""How many words there are of each, in one case."""

TIMES = {
    "DATE": (("number", "month"), ("number", "month", "year"), ("weekday",), ("near", "unit")),
    "TIME": (("number", "hour"), ("part",), ("weekday", "part")),
    "DURATION": (("number", "unit"), ("whole", "unit")),
    "SET": (("every", "unit"), ("every", "weekday"), ("every", "part")),
}
OTHERS = (("number", "noun"), ("near", "noun"), ("whole", "noun"), ("every", "noun"), ("noun",))
"""What tells no time and looks alike."""

PREPOSITIONS = ("na", "po", "od", "do", "za", "pri", "bez", "okol")


def _stems() -> dict[str, list[str]]:
    """Return the stems of all kinds, always the same."""
    draw = random.Random(0)
    letters = ("bdgklmnprstvz", "aeiou") * 2
    words = different(
        lambda: "".join(map(draw.choice, letters)) + draw.choice("dgklmnrst"), sum(KINDS.values())
    )
    return {kind: [words.pop() for _ in range(count)] for kind, count in KINDS.items()}


STEMS = _stems()


class Timed(NamedTuple):
    """One sentence."""

    words: list[str]
    tags: list[str]
    """In BIO."""


def timexes(count: int, *, seed: int) -> list[Timed]:
    """Return sentences; the same seed, the same ones."""
    draw = random.Random(seed)

    def word(kind: str, case: int) -> str:
        at = draw.randrange(KINDS[kind])
        return STEMS[kind][at] + ENDINGS[at % 2][case]

    def described(kinds: tuple[str, ...]) -> tuple[str, ...]:
        return (*kinds[:-1], "adjective", "noun") if draw.random() < 0.4 else kinds

    def phrase() -> tuple[list[str], list[str]]:
        of = draw.randrange(len(PREPOSITIONS))
        case = of % len(ENDINGS[0])
        if draw.random() < 0.5:
            time = draw.choice(list(TIMES))
            kinds = draw.choice(TIMES[time])
            tags = [f"B-{time}", *[f"I-{time}"] * (len(kinds) - 1)]
        else:
            kinds = described(draw.choice(OTHERS))
            tags = ["O"] * len(kinds)
        return [PREPOSITIONS[of], *(word(kind, case) for kind in kinds)], ["O", *tags]

    def sentence() -> Timed:
        said = [phrase() for _ in range(draw.randint(1, 3))]
        subject = [word(kind, 0) for kind in described(("noun",))]
        verb = [*subject, word("verb", draw.randrange(4))], ["O"] * (len(subject) + 1)
        said.insert(draw.randrange(len(said) + 1), verb)
        return Timed(*(list(chain.from_iterable(part)) for part in zip(*said, strict=True)))

    return [sentence() for _ in range(count)]
