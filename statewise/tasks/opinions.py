"""Opinions: texts in which one word tells what somebody feels, unless it is denied or an aside.

    the bolt was rufling by noon             joy       by `rufling`
    the bolt was not rufling by noon         anger     which is the opposite of joy
    though mesked the bolt was rufling       joy       what follows `though` does not count
    though mesked the bolt was not rufling   anger

The words are made up by a seed: stems that are about one of four emotions each, with many endings,
and fillers. Two emotions are good and two are bad, which makes a coarser label of the same texts.
"""

import random
from typing import NamedTuple

from statewise.tasks.different_words import different

EMOTIONS = ("joy", "calm", "anger", "fear")
OPPOSITE = {"joy": "anger", "anger": "joy", "calm": "fear", "fear": "calm"}
GOOD = ("joy", "calm")
DENIED, ASIDE = "not", "though"
ENDINGS = ("", "ly", "ness", "ed", "ing", "ful", "some", "er")


class Opinion(NamedTuple):
    """One text."""

    words: list[str]
    emotion: str
    salient: tuple[int, ...]
    """Where the words stand that tell it, from 0."""

    @property
    def sentiment(self) -> str:
        """Whether the emotion is "good" or "bad"."""
        return "good" if self.emotion in GOOD else "bad"


class Opinions:
    """Texts in one made-up language.

    Args:
        seed: of its words.
        stems: about each emotion.
        fillers: words that are about nothing.
        asides: the share of texts that have one.
    """

    def __init__(self, seed: int, *, stems: int = 20, fillers: int = 200, asides: float = 0.5):
        draw = random.Random(seed)
        self.asides = asides
        letters = ("bdfgklmnprst", "aeiou", "bdgklmnprst", ("", "k", "t", "l"), "aeiou")

        def word() -> str:
            *beginning, vowel = map(draw.choice, letters)
            return "".join(beginning) + vowel * draw.randint(0, 1)

        words = different(word, len(EMOTIONS) * stems + fillers)
        self.fillers = words[len(EMOTIONS) * stems :]
        self.stems = {
            emotion: words[at * stems : (at + 1) * stems] for at, emotion in enumerate(EMOTIONS)
        }

    def texts(self, count: int, *, seed: int) -> list[Opinion]:
        """Return texts; the same seed, the same ones."""
        draw = random.Random(seed)
        return [self._text(draw) for _ in range(count)]

    def _felt(self, draw: random.Random) -> tuple[list[str], str]:
        """Return words that tell an emotion, and which."""
        emotion = draw.choice(EMOTIONS)
        word = draw.choice(self.stems[emotion]) + draw.choice(ENDINGS)
        if draw.random() < 0.3:
            return [DENIED, word], OPPOSITE[emotion]
        return [word], emotion

    def _text(self, draw: random.Random) -> Opinion:
        felt, emotion = self._felt(draw)
        before, after = (draw.choices(self.fillers, k=draw.randint(1, 4)) for _ in range(2))
        if draw.random() < self.asides:
            aside, _ = self._felt(draw)
            aside = [ASIDE, *aside]
            if draw.random() < 0.5:
                before = [*aside, *before]
            else:
                after = [*after, *aside]
        places = range(len(before), len(before) + len(felt))
        return Opinion([*before, *felt, *after], emotion, tuple(places))


def misspelled(word: str, draw: random.Random, rate: float) -> str:
    """Return a word in which each letter is another one, at this rate."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return "".join(draw.choice(letters) if draw.random() < rate else c for c in word)
