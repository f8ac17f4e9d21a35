"""Spans as tags of the words they are made of, one tag a word, in six ways of writing them.

    word     Ann   B-Bar  Co    saw  Bob   Eve   .       two people end the example, side by side
    IO       I-PER I-ORG  I-ORG O    I-PER I-PER O       which here become one
    IOB1     I-PER I-ORG  I-ORG O    I-PER B-PER O       B only where the span before is as I says
    BIO      B-PER B-ORG  I-ORG O    B-PER B-PER O       also called IOB2
    BIOES    S-PER B-ORG  E-ORG O    S-PER S-PER O
    BMES     S-PER B-ORG  E-ORG O    S-PER S-PER O       M inside; words of a text, without types:
    BILOU    U-PER B-ORG  L-ORG O    U-PER U-PER O       B M E S

One way of reading serves them all, that of the evaluation script of CoNLL-2000 (`spans`), and it
reads a tag that breaks its scheme as well: nothing has to be told, and nothing is lost.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor


class Span(NamedTuple):
    """Words of a sentence that belong together."""

    start: int
    """The first word, from 0."""
    end: int
    """The word after the last one."""
    type: str
    """Empty where spans have none."""


class Scheme(NamedTuple):
    """The letters of a way to write spans."""

    single: str
    """Of the only word of a span."""
    first: str
    inside: str
    last: str
    again: str = ""
    """Of the first word of a span that touches one of its type, where that is not `first`."""


SCHEMES = {
    "BIO": Scheme("B", "B", "I", "I"),
    "IO": Scheme("I", "I", "I", "I"),
    "IOB1": Scheme("I", "I", "I", "I", "B"),
    "BIOES": Scheme("S", "B", "I", "E"),
    "BMES": Scheme("S", "B", "M", "E"),
    "BILOU": Scheme("U", "B", "I", "L"),
}
"""By name. Where several fit the same tags, the first one is taken."""

OUTSIDE = "O"
BEGIN, END = frozenset("BSU"), frozenset("ESLU")
"""Letters that begin a span, and after which another begins, whatever stands beside them."""
LETTERS = frozenset("BIESMLU")


def split(tag: str) -> tuple[str, str]:
    """Return the letter of a tag and the type after its first hyphen, empty if it has none.

    Raises:
        ValueError: if it is no tag of any scheme.
    """
    letter, _, kind = tag.partition("-")
    if letter not in LETTERS and tag != OUTSIDE:
        raise ValueError(
            f"{tag!r} is no tag of a span: it should be O, or B, I, E, S, M, L or U with a type "
            "or without one, such as B-PER"
        )
    return letter, kind


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans of a sentence, as the evaluation script of CoNLL-2000 reads its tags.

    A word that is not outside begins a span if the word before it is outside or of another type,
    if its letter is B, S or U, or if the letter before it is E, S, L or U; otherwise it continues
    the span. So no tag is an error: `O I-PER` is a person, and `B-PER I-ORG` are two spans. The
    script itself knows no S, L, M and U, and does not begin a span at a B after an E.

    Raises:
        ValueError: if a tag is of no scheme.
    """
    found: list[Span] = []
    start, before, kind_before = 0, OUTSIDE, ""
    for at, tag in enumerate([*tags, OUTSIDE]):
        letter, kind = split(tag)
        goes_on = kind == kind_before and letter not in BEGIN and before not in END
        if letter == OUTSIDE or before == OUTSIDE or not goes_on:
            if before != OUTSIDE:
                found.append(Span(start, at, kind_before))
            start = at
        before, kind_before = letter, kind
    return found


def write(found: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence's spans.

    In IO, spans of one type that touch become one; all others keep everything.

    Args:
        found: in any order.
        length: of the sentence, in words.
        scheme: one of `SCHEMES`.

    Raises:
        ValueError: if two spans overlap, one is empty or not within the sentence, or there is no
            such scheme.
    """
    letters = _scheme(scheme)
    tags = [OUTSIDE] * length
    end, kind_before = -1, ""
    for span in sorted(found):
        if not max(end, 0) <= span.start < span.end <= length:
            raise ValueError(
                f"the span {tuple(span)} is empty, overlaps another or is not within {length} words"
            )
        size = span.end - span.start
        written = [letters.first, *letters.inside * (size - 2), letters.last]
        if size == 1:
            written = [letters.single]
        if letters.again and (span.start, span.type) == (end, kind_before):
            written[0] = letters.again
        joint = f"-{span.type}" if span.type else ""
        tags[span.start : span.end] = [letter + joint for letter in written]
        end, kind_before = span.end, span.type
    return tags


def convert(tags: Sequence[str], scheme: str) -> list[str]:
    """Return tags of any scheme in another, or, where they break their own, put right.

    Raises:
        ValueError: if a tag is of no scheme, or there is no such scheme.
    """
    return write(spans(tags), len(tags), scheme)


def follows(scheme: str, before: str | None, after: str | None) -> bool:
    """Return whether a scheme allows a tag after another; None is the border of the sentence.

    Raises:
        ValueError: if a tag is of no scheme, or there is no such scheme.
    """
    letters = _scheme(scheme)
    one, kind = split(before or OUTSIDE)
    two, kind_after = split(after or OUTSIDE)
    if not {one, two} <= {*letters, OUTSIDE} - {""}:
        return False
    if two == letters.again:
        return one != OUTSIDE and kind == kind_after
    unfinished = one not in (OUTSIDE, letters.single, letters.last, letters.again)
    continues = two not in (OUTSIDE, letters.single, letters.first)
    if continues:
        return one in (letters.first, letters.inside) and kind == kind_after
    return not unfinished


def legal(tags: Sequence[str], scheme: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rules of a scheme over a list of tags, for `statewise.models.CRF`.

    With which tags a sentence may begin, (tags,), whether the second may follow the first, (tags,
    tags), and with which it may end, (tags,); all boolean.

    Raises:
        ValueError: if a tag is of no scheme, or there is no such scheme.
    """
    start = [follows(scheme, None, tag) for tag in tags]
    transition = [[follows(scheme, one, two) for two in tags] for one in tags]
    end = [follows(scheme, tag, None) for tag in tags]
    return torch.tensor(start), torch.tensor(transition), torch.tensor(end)


class Detected(NamedTuple):
    """What `detect` found out; printed, one sentence about it."""

    scheme: str | None
    """None where tags are classes of words, such as parts of speech, and not spans."""
    also: tuple[str, ...] = ()
    """Other schemes that fit as well."""
    broken: int = 0
    """How many tags break it."""
    first: str = ""
    """Which is the first of them, in words."""

    def __str__(self) -> str:
        if self.scheme is None:
            return "the tags are classes of words, and no spans"
        also = f", and as well {' and '.join(self.also)}" if self.also else ""
        broken = f"; {self.first} breaks it first, {self.broken} in all" if self.broken else ""
        return f"the tags are spans in {self.scheme}{also}{broken}"


def _place(sentence: int, word: int) -> str:
    return f"sentence {sentence + 1}, word {word + 1}"


def detect(
    sentences: Iterable[Sequence[str]], *, place: Callable[[int, int], str] = _place
) -> Detected:
    """Return in which scheme all the tags of a file are written.

    Tags of which only some are of spans, or that are in a scheme with E, S, M, L or U and break it,
    are refused: two schemes seem to be mixed. Those with B and I alone mean the same in each of
    their schemes; the one that the fewest tags break is taken, and how many do is told.

    Args:
        sentences: the tags of each.
        place: how to say where the given word of the given sentence stands, both from 0.

    Raises:
        ValueError: says where the tags fit no scheme.
    """
    tags: dict[str, tuple[int, int]] = {}
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    firsts: dict[tuple[str | None, str | None], tuple[int, int]] = {}
    for at, sentence in enumerate(sentences):
        for word, pair in enumerate(pairwise([None, *sentence, None])):
            pairs[pair] += 1
            firsts.setdefault(pair, (at, word))
            if pair[1] is not None:
                tags.setdefault(pair[1], (at, word))
    plain = [tag for tag in tags if tag != OUTSIDE and tag.partition("-")[0] not in LETTERS]
    of_spans = [tag for tag in tags if tag[1:2] == "-" and tag[0] in LETTERS]
    if plain and of_spans:
        raise ValueError(
            f"{place(*tags[plain[0]])}: {plain[0]!r} is no tag of a span, and {of_spans[0]!r} "
            f"({place(*tags[of_spans[0]])}) is one"
        )
    if plain:
        return Detected(None)

    breaks = {scheme: [pair for pair in pairs if not follows(scheme, *pair)] for scheme in SCHEMES}
    counts = {scheme: sum(pairs[pair] for pair in found) for scheme, found in breaks.items()}
    fewest = min(counts.values())
    best, *also = (scheme for scheme in SCHEMES if counts[scheme] == fewest)
    if not fewest:
        return Detected(best, tuple(also))
    wrong = min(breaks[best], key=lambda pair: firsts[pair])
    at, word = firsts[wrong]
    before, after = (repr(tag) if tag else "the border of the sentence" for tag in wrong)
    if any(tag[0] not in "BIO" for tag in tags):
        raise ValueError(
            f"{place(at, word if wrong[1] else word - 1)}: the tags fit no scheme; {best}, the "
            f"nearest, is broken first by {after} after {before}, {fewest} in all"
        )
    first = f"{after} after {before} ({place(at, word)})"
    return Detected(best, (), fewest, first)


def _scheme(name: str) -> Scheme:
    if name not in SCHEMES:
        raise ValueError(f"there is no scheme {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[name]
