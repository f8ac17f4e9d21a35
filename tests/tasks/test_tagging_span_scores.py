import random

import pytest

from statewise.tasks.scores import Score
from statewise.tasks.tagging.span_scores import span_report


def report_of(wanted, found):
    return span_report([s.split() for s in wanted], [s.split() for s in found])


def test_the_picture():
    report = report_of(["B-PER I-PER O B-ORG"], ["B-PER O O B-ORG"])
    assert report.types == {"ORG": Score(1, 1, 1), "PER": Score(0, 1, 1)}
    assert report.total == Score(1, 2, 2)
    assert (report.total.f1, report.macro_f1) == (0.5, 0.5)
    assert report.words == Score(3, 4, 4)
    lines = str(report).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["ORG", "PER", "all"]
    assert lines[3].split()[1:] == ["50.00", "50.00", "50.00", "2", "2"]
    assert lines[4] == "accuracy 75.00 over 4 words, macro F1 50.00"


def test_some_spans_may_count_alone():
    wanted, found = [["B-X", "I-X", "B-X"], ["B-X"]], [["B-X", "I-X", "B-Y"], ["O"]]
    long = span_report(wanted, found, lambda sentence, span: span.end - span.start > 1)
    assert long.types == {"X": Score(1, 1, 1)}
    assert long.words == Score(2, 4, 4)
    second = span_report(wanted, found, lambda sentence, span: sentence == 1)
    assert second.types == {"X": Score(0, 0, 1)}


@pytest.mark.parametrize(
    ("wanted", "found", "counts"),
    [
        # A span is right only whole, and of its type.
        (["B-X I-X I-X"], ["B-X I-X O"], (0, 1, 1)),
        (["B-X I-X"], ["B-Y I-Y"], (0, 1, 1)),
        (["B-X I-X"], ["I-X I-X"], (1, 1, 1)),  # an I that begins is as good as a B
        (["B-X B-X"], ["B-X I-X"], (0, 1, 2)),
        (["B-X I-X"], ["B-X B-X"], (0, 2, 1)),
        (["B-X I-X O"], ["B-X I-Y O"], (0, 2, 1)),
        # Spans end with their sentence.
        (["B-X", "I-X"], ["I-X", "B-X"], (2, 2, 2)),
        # In different schemes.
        (["B-X I-X O B-X"], ["B-X E-X O S-X"], (2, 2, 2)),
        (["O O"], ["O O"], (0, 0, 0)),
        ([""], [""], (0, 0, 0)),
    ],
)
def test_spans_are_counted_whole(wanted, found, counts):
    assert report_of(wanted, found).total == Score(*counts)


def blocks(wanted, found):
    """Count as the script does: one walk over both, which knows whether all was right so far."""

    def begins(before, tag):
        (one, kind), (two, other) = before, tag
        pairs = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}
        return (one, two) in pairs or (two != "O" and kind != other)

    def ends(before, tag):
        (one, kind), (two, other) = before, tag
        pairs = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
        return (one, two) in pairs or (one != "O" and kind != other)

    def parsed(tag):
        letter, _, kind = tag.partition("-")
        return letter, kind

    right = given = there = 0
    last = [("O", ""), ("O", "")]
    so_far = False
    for one, two in zip([*wanted, "O"], [*found, "O"], strict=True):
        now = [parsed(one), parsed(two)]
        both_end = [ends(a, b) for a, b in zip(last, now, strict=True)]
        if so_far and all(both_end) and last[0][1] == last[1][1]:
            right, so_far = right + 1, False
        elif any(both_end) != all(both_end) or now[0][1] != now[1][1]:
            so_far = False
        both_begin = [begins(a, b) for a, b in zip(last, now, strict=True)]
        so_far = so_far or (all(both_begin) and now[0][1] == now[1][1])
        there, given = there + both_begin[0], given + both_begin[1]
        last = now
    return right, given, there


@pytest.mark.parametrize("seed", range(10))
def test_any_sequence_is_counted_by_the_published_rules(seed):
    """Also such as no scheme allows."""
    draw = random.Random(seed)
    for _ in range(200):
        wanted, found = (
            draw.choices(["O", "O", "B-X", "I-X", "B-Y", "I-Y"], k=12) for _ in range(2)
        )
        found = [a if draw.random() < 0.6 else b for a, b in zip(wanted, found, strict=True)]
        assert span_report([wanted], [found]).total == Score(*blocks(wanted, found))


def test_sentences_and_words_are_as_many():
    with pytest.raises(ValueError, match="1 sentences found for 2 wanted"):
        report_of(["O", "O"], ["O"])
    with pytest.raises(ValueError, match="2 tags found for the 1 words of sentence 2"):
        report_of(["O", "O"], ["O", "O O"])
    with pytest.raises(ValueError, match="'NOUN' is no tag of a span"):
        report_of(["NOUN"], ["O"])
