"""Verse: lines of made-up words whose stresses make one of four metres, as their spelling tells.

    iamb        x / x / x / x /         ta ralupa de tinnu ga sulti ...
    trochee     / x / x / x / x
    dactyl      / x x / x x / x x
    anapaest    x x / x x / x x /

A word of one syllable is stressed if that is heavy: if a consonant closes it. In a longer one the
last syllable but one is stressed where it is heavy, or the word has two, and else the one before
it, as in Latin. Only a syllable's last consonant and where the next one begins tell it.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from statewise.tasks.different_words import different

METRES = {"iamb": "x/", "trochee": "/x", "dactyl": "/xx", "anapaest": "xx/"}
"""A foot of each: `/` is stressed."""

ONSETS, VOWELS, CODAS = "bdgklmprst", "aeiou", "nrsl"
MARK = "'"
"""After a stressed vowel, where stresses are marked."""


class Line(NamedTuple):
    """One line."""

    text: str
    metre: str
    marked: str
    """The same line, with a mark after each stressed vowel."""


def stressed(syllables: Sequence[str]) -> int:
    """Return which syllable is stressed, from 0, or -1 for none."""
    heavy = [syllable[-1] in CODAS for syllable in syllables]
    if len(syllables) == 1:
        return 0 if heavy[0] else -1
    return len(syllables) - 2 if len(syllables) == 2 or heavy[-2] else len(syllables) - 3


def lexicon(
    draw: random.Random, count: int, taken: frozenset[str] = frozenset()
) -> list[list[str]]:
    """Return different words, in syllables; none that is taken."""

    def word() -> list[str]:
        syllables = draw.choice((1, 1, 2, 3, 3, 4))
        letters = (ONSETS, VOWELS, ("", "", *CODAS))
        return ["".join(map(draw.choice, letters)) for _ in range(syllables)]

    return different(word, count, taken)


def _pattern(word: Sequence[str]) -> str:
    at = stressed(word)
    return "".join("/" if place == at else "x" for place in range(len(word)))


def _marked(word: Sequence[str]) -> str:
    at = stressed(word)
    return "".join(s[:2] + MARK * (place == at) + s[2:] for place, s in enumerate(word))


def line(draw: random.Random, known: Sequence[list[str]], feet: int = 4) -> Line:
    """Return a line of some of these words, of a metre that is drawn first."""
    metre = draw.choice(list(METRES))
    wanted = METRES[metre] * feet
    by_pattern: dict[str, list[list[str]]] = {}
    for word in known:
        by_pattern.setdefault(_pattern(word), []).append(word)
    words: list[list[str]] = []
    while wanted:
        fitting = [pattern for pattern in by_pattern if wanted.startswith(pattern)]
        chosen = draw.choice(by_pattern[draw.choice(fitting)])
        words.append(chosen)
        wanted = wanted[len(chosen) :]
    return Line(" ".join(map("".join, words)), metre, " ".join(map(_marked, words)))


def verse(train: int, test: int, *, seed: int, feet: int = 4) -> tuple[list[Line], list[Line]]:
    """Return lines to learn from and lines to be scored, of other words; the same by each seed.

    Args:
        train: how many are to learn from; of 600 words.
        test: how many are to be scored; of 600 words that none of the others has.
        seed: of all of them.
        feet: of each line.
    """
    draw = random.Random(seed)
    # Words of one syllable are few: both parts have those.
    short = [[a + b + c] for a in ONSETS for b in VOWELS for c in ("", *CODAS)]
    draw.shuffle(short)
    known = [word for word in lexicon(draw, 600) if len(word) > 1]
    taken = frozenset(map("".join, known))
    new = [word for word in lexicon(draw, 600, taken) if len(word) > 1]
    half = len(short) // 2
    parts = ((train, [*known, *short[:half]]), (test, [*new, *short[half:]]))
    first, second = ([line(draw, words, feet) for _ in range(n)] for n, words in parts)
    return first, second
