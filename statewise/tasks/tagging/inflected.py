"""Sentences of an inflected language: endings tell classes, neighbours agree, names are as nouns.

    words     dubimina  ribab  dimidala  donumino  modam  katug  goneko
    part      ADJ       PROPN  VERB      ADJ       PROPN  PROPN  ADV      part of speech
    gender    f         _      f         n         _      _      _
    entities  O         B-PER  O         O         B-LOC  I-LOC  O        LOC beside a neuter

A sentence is two clauses: a subject, a verb that agrees with it, an object and now and then an
adverb. A noun or a name may have an adjective, which agrees; a name that is an object has one.
Adjectives and verbs end as `ENDINGS` says, nouns too; names end as nouns do, whatever they are. One
adjective or verb in five is short, and ends as the masculine, whatever it agrees with.
"""

import random
from typing import NamedTuple

ENDINGS = {
    "NOUN": {"m": "", "f": "a", "n": "o"},
    "ADJ": {"m": "in", "f": "ina", "n": "ino"},
    "VERB": {"m": "al", "f": "ala", "n": "alo"},
    "ADV": {"_": "o"},
}
"""By part of speech and gender."""

TYPES = {"m": "PER", "f": "PER", "n": "LOC"}
"""What a name is, by the gender of what agrees with it."""

STEMS = 150
"""How many return, of each part of speech."""


class Inflected(NamedTuple):
    """One sentence."""

    words: list[str]
    parts: list[str]
    genders: list[str]
    entities: list[str]
    """In BIO."""


def inflected(count: int, *, seed: int, names: float = 0.0, new: float = 0.3) -> list[Inflected]:
    """Return sentences; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        names: the share of nouns in whose place a name stands, of one word or two.
        new: the share of stems that stand nowhere else, but by chance.
    """
    always, draw = random.Random(0), random.Random(seed)
    kept = {part: [_stem(always) for _ in range(STEMS)] for part in (*ENDINGS, "PROPN")}

    def word(part: str, gender: str, entity: str = "O") -> tuple[str, str, str, str]:
        stem = _stem(draw) if draw.random() < new else draw.choice(kept[part])
        if part == "PROPN":
            return stem + draw.choice(list(ENDINGS["NOUN"].values())), part, "_", entity
        short = part in ("ADJ", "VERB") and draw.random() < 0.2
        return stem + ENDINGS[part]["m" if short else gender], part, gender, entity

    def phrase(gender: str, *, subject: bool) -> list[tuple[str, str, str, str]]:
        name = draw.random() < names
        described = draw.random() < 0.5 or (name and not subject)
        said = [word("ADJ", gender)] if described else []
        if not name:
            return [*said, word("NOUN", gender)]
        said.append(word("PROPN", gender, f"B-{TYPES[gender]}"))
        return [*said, word("PROPN", gender, f"I-{TYPES[gender]}")] if draw.random() < 0.3 else said

    def clause() -> list[tuple[str, str, str, str]]:
        one, other = draw.choice("mfn"), draw.choice("mfn")
        said = [*phrase(one, subject=True), word("VERB", one), *phrase(other, subject=False)]
        return [*said, word("ADV", "_")] if draw.random() < 0.5 else said

    return [Inflected(*map(list, zip(*clause(), *clause(), strict=True))) for _ in range(count)]


def _stem(draw: random.Random) -> str:
    """Return five letters: 24,200 stems there are."""
    letters = ("bdgklmnprst", "aeiou") * 2
    return "".join(map(draw.choice, letters)) + draw.choice("bdgkmpst")
