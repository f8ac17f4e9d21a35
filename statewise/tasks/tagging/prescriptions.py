"""Prescriptions: drugs, doses, and times that belong to some of the drugs; rows of a table.

    words    give tavol acid 20 mg  and   kerin for three days , then bodax  until friday
    tags          DRUG       DOSE         DRUG  TIME                  DRUG   TIME
    related  (tavol acid, for three days), (kerin, for three days), (bodax, until friday)

    drug         dose     times
    tavol acid   20 mg    for three days
    kerin                 for three days
    bodax                 until friday

A name has one to three words, of which the first ends as those of drugs do; other things, which are
no drugs, end otherwise and stand in the same places. What somebody is allergic to is no
prescription: its names are not tagged, however far the word stands that says so.
"""

import random
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from statewise.tasks.different_words import different
from statewise.tasks.tagging.schemes import Span, spans, write

ENDINGS = ("ol", "in", "ax", "ide")
OTHERS = ("et", "un", "osk", "ag")
"""How the first words end of names, and of other things."""

SECOND = ("acid", "sodium", "extract", "forte", "oil", "salt")
"""Words that follow in a name."""

NUMBERS = ("two", "three", "five", "seven", "ten")
UNITS = ("days", "weeks", "months")
DAYS = ("monday", "tuesday", "friday", "christmas", "may", "march")
FILLERS = ("as", "before", "the", "patient", "well", "please", "again", "today", "sodium", "oil")

FORMS: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("0 | , then 1 / .", ((0, 0), (1, 1))),
    ("0 and 1 | .", ((0, 0), (1, 0))),
    ("0 , but 1 | .", ((1, 0),)),
    ("| 0 , then 1 .", ((0, 0),)),
    ("| 0 and 1 , then 2 / .", ((0, 0), (1, 0), (2, 1))),
    ("0 and 1 | , then 2 / .", ((0, 0), (1, 0), (2, 1))),
    ("0 | ; later 1 .", ((0, 0),)),
)
"""Drugs by numbers, a first time | and a second one /; which drugs are related to which times."""


class Row(NamedTuple):
    """What is said of one drug."""

    drug: str
    dose: str
    """Empty if none is said."""
    times: tuple[str, ...]


class Prescription(NamedTuple):
    """One sentence."""

    words: list[str]
    tags: list[str]
    """In BIO, of DRUG, DOSE and TIME."""
    related: frozenset[tuple[Span, Span]]
    """Drugs, each with a time that is said of it."""


def prescriptions(
    count: int, *, seed: int, new: float = 0.3, others: float = 0.2, allergies: float = 0.2
) -> list[Prescription]:
    """Return sentences; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        new: the share of names whose stem stands nowhere else, but by chance.
        others: the share of prescribed things that are no drugs.
        allergies: the share of sentences that tell what somebody is allergic to, or was given.
    """
    draw = random.Random(seed)
    return [_listed(draw, new) if draw.random() < allergies else _ordered(draw, new, others)
            for _ in range(count)]  # fmt: skip


def table(
    words: Sequence[str], tags: Sequence[str], related: Collection[tuple[Span, Span]]
) -> list[Row]:
    """Return a row for each drug, in their order.

    A dose is that of the drug that it follows at once; times are those that are related, in their
    order.

    Args:
        words: of a sentence.
        tags: of these, in BIO or another scheme.
        related: drugs and times that are.
    """
    found = spans(tags)
    doses = {span.start: span for span in found if span.type == "DOSE"}
    times = [span for span in found if span.type == "TIME"]

    def said(span: Span | None) -> str:
        return "" if span is None else " ".join(words[span.start : span.end])

    return [
        Row(
            said(drug),
            said(doses.get(drug.end)),
            tuple(said(time) for time in times if (drug, time) in related),
        )
        for drug in found
        if drug.type == "DRUG"
    ]


def pairs(tags: Sequence[str]) -> list[tuple[Span, Span]]:
    """Return every drug of a sentence with every time."""
    found = spans(tags)
    return [
        (drug, time)
        for drug in found if drug.type == "DRUG"
        for time in found if time.type == "TIME"
    ]  # fmt: skip


def marked(words: Sequence[str], some: Iterable[Span]) -> list[str]:
    """Return words with a mark before and after each of some spans, which do not overlap."""
    said = list(words)
    for start, end, kind in sorted(some, reverse=True):
        said[start:end] = [f"<{kind}>", *words[start:end], f"</{kind}>"]
    return said


def questions(some: Iterable[Prescription]) -> tuple[list[list[str]], list[str]]:
    """Return sentences with a drug and a time marked, and whether these are related: yes or no."""
    asked = [(each, pair) for each in some for pair in pairs(each.tags)]
    answers = ["yes" if pair in each.related else "no" for each, pair in asked]
    return [marked(each.words, pair) for each, pair in asked], answers


def _stem(draw: random.Random) -> str:
    letters = ("bdfgklmnprstv", "aeiou") * 2
    return "".join(map(draw.choice, letters)) + draw.choice("dgklmnrstv")


_ALWAYS = random.Random(0)
STEMS = different(lambda: _stem(_ALWAYS), 150)


def _name(draw: random.Random, new: float, endings: Sequence[str] = ENDINGS) -> list[str]:
    stem = _stem(draw) if draw.random() < new else draw.choice(STEMS)
    return [stem + draw.choice(endings), *draw.sample(SECOND, draw.choice((0, 0, 1, 2)))]


def _time(draw: random.Random) -> list[str]:
    if draw.random() < 0.5:
        return ["for", draw.choice(NUMBERS), draw.choice(UNITS)]
    return [draw.choice(("until", "since", "from")), draw.choice(DAYS)]


def _said(pieces: Iterable[tuple[list[str], str]]) -> tuple[list[str], list[Span]]:
    """Return the words of pieces, and spans of those that are of a type."""
    words: list[str] = []
    found: list[Span] = []
    for piece, kind in pieces:
        if kind:
            found.append(Span(len(words), len(words) + len(piece), kind))
        words += piece
    return words, found


def _ordered(draw: random.Random, new: float, others: float) -> Prescription:
    form, related = draw.choice(FORMS)
    pieces = [
        (draw.choices(FILLERS, k=draw.randrange(3)), ""),
        ([draw.choice(("give", "took"))], ""),
    ]
    drugs: dict[int, int] = {}
    for piece in form.split():
        if piece.isdigit() and draw.random() < others:
            pieces.append((_name(draw, new, OTHERS), ""))
        elif piece.isdigit():
            drugs[int(piece)] = len(drugs)
            pieces.append((_name(draw, new), "DRUG"))
            if draw.random() < 0.5:
                dose = [str(draw.choice((5, 10, 20, 250))), draw.choice(("mg", "ml"))]
                pieces.append((dose, "DOSE"))
        elif piece in "|/":
            pieces.append((_time(draw), "TIME"))
        else:
            pieces.append(([piece], ""))
    words, found = _said(pieces)
    named, times = ([span for span in found if span.type == kind] for kind in ("DRUG", "TIME"))
    return Prescription(
        words,
        write(found, len(words), "BIO"),
        frozenset((named[drugs[one]], times[at]) for one, at in related if one in drugs),
    )


def _listed(draw: random.Random, new: float) -> Prescription:
    given = draw.random() < 0.5
    pieces = [(["she", "was", "given"] if given else ["she", "is", "allergic", "to"], "")]
    for _ in range(draw.randint(2, 4)):
        pieces += [(_name(draw, new), "DRUG" * given), (draw.choice(([","], ["and"], ["or"])), "")]
    words, found = _said(pieces[:-1])
    return Prescription(words, write(found, len(words), "BIO"), frozenset())
