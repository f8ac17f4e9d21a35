"""Prescriptions: what is tagged, what belongs together, and the table."""

from collections import Counter

import pytest

from statewise.tasks.tagging import Span, spans
from statewise.tasks.tagging.prescriptions import (
    ENDINGS,
    FORMS,
    OTHERS,
    Prescription,
    Row,
    marked,
    pairs,
    prescriptions,
    questions,
    table,
)

WORDS = [
    "give", "tavol", "acid", "20", "mg", "and", "kerin", "for", "three", "days", ",", "then",
    "bodax", "until", "friday",
]  # fmt: skip
TAGS = [
    "O", "B-DRUG", "I-DRUG", "B-DOSE", "I-DOSE", "O", "B-DRUG", "B-TIME", "I-TIME", "I-TIME", "O",
    "O", "B-DRUG", "B-TIME", "I-TIME",
]  # fmt: skip
TAVOL, KERIN, BODAX = Span(1, 3, "DRUG"), Span(6, 7, "DRUG"), Span(12, 13, "DRUG")
THREE, FRIDAY = Span(7, 10, "TIME"), Span(13, 15, "TIME")


def test_the_picture():
    assert table(WORDS, TAGS, {(TAVOL, THREE), (KERIN, THREE), (BODAX, FRIDAY)}) == [
        Row("tavol acid", "20 mg", ("for three days",)),
        Row("kerin", "", ("for three days",)),
        Row("bodax", "", ("until friday",)),
    ]
    assert table(WORDS, TAGS, ())[2] == Row("bodax", "", ())
    assert pairs(TAGS) == [(d, t) for d in (TAVOL, KERIN, BODAX) for t in (THREE, FRIDAY)]
    said = marked(WORDS, (THREE, TAVOL))
    assert said[:5] == ["give", "<DRUG>", "tavol", "acid", "</DRUG>"]
    assert said[8:14] == ["kerin", "<TIME>", "for", "three", "days", "</TIME>"]
    assert [word for word in said if word[0] != "<"] == WORDS


def test_questions_are_all_pairs_of_all_sentences():
    related = frozenset({(TAVOL, THREE), (BODAX, FRIDAY)})
    read, answers = questions([Prescription(WORDS, TAGS, related)] * 2)
    assert answers == ["yes", "no", "no", "no", "no", "yes"] * 2
    assert read[6:] == [marked(WORDS, pair) for pair in pairs(TAGS)]


def test_what_is_related_is_what_its_form_says():
    some = prescriptions(2000, seed=1, others=0.0)
    assert some == prescriptions(2000, seed=1, others=0.0)
    seen = Counter()
    for words, tags, related in some:
        found = spans(tags)
        of = {kind: [s for s in found if s.type == kind] for kind in ("DRUG", "DOSE", "TIME")}
        by_number = {(of["DRUG"].index(one), of["TIME"].index(two)) for one, two in related}
        assert (not of["TIME"]) == (not related)
        assert not related or tuple(sorted(by_number)) in [form for _, form in FORMS]
        assert all(any(drug.end == dose.start for drug in of["DRUG"]) for dose in of["DOSE"])
        seen["listed"] += not related
        seen["allergic"] += "allergic" in words
        assert "allergic" not in words or not found
        assert all(drug.end - drug.start <= 3 for drug in of["DRUG"])
    assert seen["listed"] / 2000 == pytest.approx(0.2, abs=0.03)
    assert seen["allergic"] / 2000 == pytest.approx(0.1, abs=0.03)


def test_other_things_stand_where_drugs_do():
    some = prescriptions(2000, seed=1, others=0.25, allergies=0.0)
    seen = Counter()
    for words, tags, related in some:
        found = spans(tags)
        starts = {span.start for span in found if span.type == "DRUG"}
        for at, word in enumerate(words):
            seen["drugs"] += at in starts
            seen["others"] += len(word) > 5 and word.endswith(OTHERS)
            assert at not in starts or word.endswith(ENDINGS)
        assert all(one in found and other in found for one, other in related)
    assert seen["others"] / seen.total() == pytest.approx(0.25, abs=0.02)


def test_names_may_be_all_known():
    known = {words[1] for words, *_ in prescriptions(3000, seed=1, new=0.0, allergies=1.0)}
    assert known == {"is", "was"}
    names = {
        words[span.start]
        for words, tags, _ in prescriptions(3000, seed=1, new=0.0)
        for span in spans(tags)
        if span.type == "DRUG"
    }
    assert len(names) <= 150 * 4
