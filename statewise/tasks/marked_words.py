"""Texts about one word among many: which one it is, a lexicon says, and nothing else.

    text       yobgd xlukl xaaio yidek         x, as the word that is marked begins
    lexicon    xlukl                           marks one word of each text

Each word begins with x or y, marked or not. No word of the texts to be scored stands in those to
learn from: what is marked there, only the lexicon can tell.
"""

import random
from typing import NamedTuple

from statewise.tasks.different_words import different

LETTERS = "aeioubdgkl"
LABELS = ("x", "y")


class MarkedTexts(NamedTuple):
    """Texts, what they are about, and the lexicon."""

    marked: list[str]
    """Words that the lexicon has, of either part."""
    plain: list[str]
    """All others."""
    train: tuple[list[str], list[str]]
    """Texts and labels."""
    test: tuple[list[str], list[str]]


def marked_texts(train: int, test: int, *, seed: int, length: int = 8) -> MarkedTexts:
    """Return texts in two parts; the same seed, the same ones.

    Args:
        train: how many are to learn from.
        test: how many are to be scored.
        seed: of all of them.
        length: words of each, at least 1.
    """
    draw = random.Random(seed)
    words = different(lambda: "".join(map(draw.choice, (LABELS, *[LETTERS] * 4))), 800)
    marked, plain = words[:200], words[200:]

    def part(count: int, own: list[str], others: list[str]) -> tuple[list[str], list[str]]:
        texts, labels = [], []
        for _ in range(count):
            one, around = draw.choice(own), [draw.choice(others) for _ in range(length - 1)]
            around.insert(draw.randrange(length), one)
            texts.append(" ".join(around))
            labels.append(one[0])
        return texts, labels

    first = part(train, marked[:100], plain[:300])
    return MarkedTexts(marked, plain, first, part(test, marked[100:], plain[300:]))
