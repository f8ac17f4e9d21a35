"""Ambiguous forms: what a word's ending means, the words before it say.

    lo      tunkur      DET  NOUN   lemma tunk       many of them
    ni      tunkur      PRON VERB   lemma tunka      the same form: somebody does so
    ni      getunkt     PRON VERB   lemma tunka      somebody did so
    lo      tunk        DET  NOUN   lemma tunk       one of them

Stems are made up, and those of one seed's sentences to be scored are all new. A noun or a verb
stands after `lo` or `ni`, and a verb after a noun too, so that the form alone does not tell.
"""

import random
from typing import NamedTuple

from statewise.tasks.different_words import different

ONSETS, VOWELS, CODAS = "bdfgklmnprstv", "aeiou", ("nk", "l", "rt", "s", "mp", "d")


class Lemmatized(NamedTuple):
    """One sentence: words, and of each its tag and its lemma."""

    words: list[str]
    tags: list[str]
    lemmas: list[str]


def stems(draw: random.Random, count: int, taken: frozenset[str] = frozenset()) -> list[str]:
    """Return different stems that are not taken; of one or two syllables."""

    def stem() -> str:
        syllables = (ONSETS, VOWELS) * draw.randint(1, 2)
        return "".join(map(draw.choice, (*syllables, CODAS)))

    return different(stem, count, taken)


def sentence(draw: random.Random, known: list[str]) -> Lemmatized:
    """Return a sentence of such stems: a subject, a verb and perhaps an object."""

    def noun() -> list[tuple[str, str, str]]:
        stem = draw.choice(known)
        return [("lo", "DET", "lo"), (stem + draw.choice(("", "ur")), "NOUN", stem)]

    subject = noun() if draw.random() < 0.5 else [("ni", "PRON", "ni")]
    stem = draw.choice(known)
    verb = (draw.choice((f"{stem}ur", f"ge{stem}t")), "VERB", f"{stem}a")
    rest = noun() if draw.random() < 0.5 else []
    words, tags, lemmas = zip(*subject, verb, *rest, strict=True)
    return Lemmatized(list(words), list(tags), list(lemmas))


def ambiguous_forms(
    train: int, test: int, *, seed: int
) -> tuple[list[Lemmatized], list[Lemmatized]]:
    """Return sentences to learn from and others to be scored; the same seed, the same ones.

    Args:
        train: how many are to learn from; of 300 stems.
        test: how many are to be scored; of 300 other stems.
        seed: of all of them.
    """
    draw = random.Random(seed)
    known = stems(draw, 300)
    new = stems(draw, 300, frozenset(known))
    return [sentence(draw, known) for _ in range(train)], [sentence(draw, new) for _ in range(test)]
