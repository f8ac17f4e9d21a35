import itertools
import random

import pytest
import torch

from statewise.tasks.tagging import schemes
from statewise.tasks.tagging.schemes import SCHEMES, Span, convert, detect, follows, spans, write

PICTURE = {
    "IO": "I-PER I-ORG I-ORG O I-PER I-PER O",
    "IOB1": "I-PER I-ORG I-ORG O I-PER B-PER O",
    "BIO": "B-PER B-ORG I-ORG O B-PER B-PER O",
    "BIOES": "S-PER B-ORG E-ORG O S-PER S-PER O",
    "BMES": "S-PER B-ORG E-ORG O S-PER S-PER O",
    "BILOU": "U-PER B-ORG L-ORG O U-PER U-PER O",
}
PEOPLE = [Span(0, 1, "PER"), Span(1, 3, "ORG"), Span(4, 5, "PER"), Span(5, 6, "PER")]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_picture(scheme):
    tags = PICTURE[scheme].split()
    assert write(reversed(PEOPLE), 7, scheme) == tags
    merged = [*PEOPLE[:2], Span(4, 6, "PER")]
    assert spans(tags) == (merged if scheme == "IO" else PEOPLE)
    assert convert(PICTURE["BIO"].split(), scheme) == tags


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O I-X I-X O", [(1, 3, "X")]),  # an I after an O begins
        ("I-X I-X", [(0, 2, "X")]),
        ("B-X I-Y I-Y", [(0, 1, "X"), (1, 3, "Y")]),  # and so does one of another type
        ("I-X B-X I-X", [(0, 1, "X"), (1, 3, "X")]),
        ("B-X B-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X O I-X", [(0, 1, "X"), (2, 3, "X")]),
        ("E-X E-X I-X", [(0, 1, "X"), (1, 2, "X"), (2, 3, "X")]),
        ("B-X E-X", [(0, 2, "X")]),
        ("O E-X O", [(1, 2, "X")]),
        ("B-X I-X E-X B-X E-X", [(0, 3, "X"), (3, 5, "X")]),
        ("S-X S-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X S-X I-X", [(0, 1, "X"), (1, 2, "X"), (2, 3, "X")]),
        ("B-X I-X", [(0, 2, "X")]),  # open at the end
        ("B-a-b I-a-b I-a", [(0, 2, "a-b"), (2, 3, "a")]),  # the first hyphen divides
        ("B M E S", [(0, 3, ""), (3, 4, "")]),
        ("B I-X", [(0, 1, ""), (1, 2, "X")]),
        ("O O", []),
        ("", []),
    ],
)
def test_every_sequence_is_read(tags, found):
    assert [tuple(span) for span in spans(tags.split())] == found


@pytest.mark.parametrize(
    "tag", ["NOUN", "o", "X-PER", "PER", "", "-PER", "O-PER", "BI-PER", "b-PER"]
)
def test_what_is_no_tag_is_refused(tag):
    with pytest.raises(ValueError, match="is no tag of a span") as error:
        spans(["O", tag])
    assert repr(tag) in str(error.value)


def random_spans(draw, length=12):
    found, at = [], 0
    while at < length:
        size = draw.choice([1, 1, 2, 3, 4])
        if draw.random() < 0.6 and at + size <= length:
            found.append(Span(at, at + size, draw.choice("XY")))
        at += size
    return found


@pytest.mark.parametrize("seed", range(20))
def test_conversions_lose_nothing(seed):
    draw = random.Random(seed)
    found = random_spans(draw)
    ways = [scheme for scheme in SCHEMES if scheme != "IO"]
    for one, two in itertools.product(ways, repeat=2):
        tags = write(found, 12, one)
        assert spans(tags) == found
        assert spans(convert(tags, two)) == found
        assert convert(convert(tags, two), one) == tags
        assert all(follows(one, *pair) for pair in itertools.pairwise([None, *tags, None]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rules_allow_exactly_what_a_scheme_writes(scheme):
    """All sequences of up to 4 tags: legal if they are what their spans are written as."""
    letters = sorted(set(SCHEMES[scheme]) - {""})
    tags = ["O", *(f"{letter}-{kind}" for letter in letters for kind in "XY")]
    start, transition, end = schemes.legal(tags, scheme)
    assert start.dtype == transition.dtype == end.dtype == torch.bool
    for length in range(1, 4 if len(tags) > 7 else 5):
        for path in itertools.product(range(len(tags)), repeat=length):
            sequence = [tags[tag] for tag in path]
            ruled = start[path[0]] and end[path[-1]]
            ruled = ruled and all(transition[pair] for pair in itertools.pairwise(path))
            assert bool(ruled) == (convert(sequence, scheme) == sequence)


def test_tags_of_another_scheme_are_never_legal():
    start, transition, end = schemes.legal(["O", "B-X", "S-X"], "BIO")
    assert start.tolist() == end.tolist() == [True, True, False]
    assert transition.tolist() == [[True, True, False]] * 2 + [[False] * 3]


@pytest.mark.parametrize(
    "found",
    [[Span(0, 2, "X"), Span(1, 3, "X")], [Span(1, 1, "X")], [Span(2, 4, "")], [Span(-1, 1, "")]],
)
def test_spans_that_cannot_be_written_are_refused(found):
    with pytest.raises(ValueError, match="is empty, overlaps another or is not within 3 words"):
        write(found, 3, "BIO")


def test_a_scheme_that_does_not_exist():
    with pytest.raises(ValueError, match="there is no scheme 'IOB2'; there are BIO, IO, IOB1"):
        convert(["O"], "IOB2")


@pytest.mark.parametrize(
    ("sentences", "scheme", "also"),
    [
        (["B-X I-X O", "B-X"], "BIO", ()),
        (["I-X I-X B-X O"], "IOB1", ()),
        (["I-X O", "I-X I-Y"], "IO", ("IOB1",)),
        (["B-X O B-X"], "BIO", ()),
        (["S-X O"], "BIOES", ("BMES",)),
        (["S-X B-X E-X", "B-X I-X E-X"], "BIOES", ()),
        (["S B M E S"], "BMES", ()),
        (["U-X B-X L-X O"], "BILOU", ()),
        (["O O", "O"], "BIO", ("IO", "IOB1", "BIOES", "BMES", "BILOU")),
        (["NOUN VERB X", "O"], None, ()),
        (["NN -LRB- PRP$"], None, ()),
    ],
)
def test_the_scheme_is_that_of_all_sentences(sentences, scheme, also):
    found = detect([sentence.split() for sentence in sentences])
    assert (found.scheme, found.also, found.broken) == (scheme, also, 0)
    assert (scheme or "no spans") in str(found)


def test_a_scheme_that_some_tags_break_is_reported():
    found = detect([["B-X", "I-X", "O", "I-X"], ["I-Y", "B-X", "B-X"], ["B-X", "I-X"]])
    assert (found.scheme, found.broken) == ("BIO", 2)
    assert str(found) == (
        "the tags are spans in BIO; 'I-X' after 'O' (sentence 1, word 4) breaks it first, 2 in all"
    )


@pytest.mark.parametrize(
    ("sentences", "sentence"),
    [
        (["B-X I-X O", "S-X O"], "sentence 1, word 3: the tags fit no scheme; BIOES, the nearest"),
        (["B-X E-X", "B-X O"], "sentence 2, word 2: .* broken first by 'O' after 'B-X', 1 in all"),
        (["S-X B-X"], "sentence 1, word 2: .* by the border of the sentence after 'B-X'"),
        (["S-X B-X E-X", "U-X"], "sentence 2, word 1: the tags fit no scheme"),
        (
            ["B-PER O", "O PER"],
            "sentence 2, word 2: 'PER' is no tag of a span, and 'B-PER' .*1.* is",
        ),
    ],
)
def test_mixed_schemes_are_refused(sentences, sentence):
    with pytest.raises(ValueError, match=sentence):
        detect([sentence.split() for sentence in sentences])


def test_places_are_said_as_asked():
    with pytest.raises(ValueError, match=r"^file:10: the tags fit no scheme"):
        detect([["S-X"], ["O", "E-X"]], place=lambda at, word: f"file:{at}{word - 1}")
