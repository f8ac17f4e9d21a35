"""Expressions of time: what is tagged, and that a word alone does not tell."""

from collections import Counter, defaultdict
from itertools import chain

import pytest

from statewise.tasks.tagging import spans
from statewise.tasks.tagging.timexes import (
    ENDINGS,
    KINDS,
    OTHERS,
    PREPOSITIONS,
    STEMS,
    TIMES,
    timexes,
)

SENTENCES = timexes(2000, seed=1)
FORMS = {
    stem + ENDINGS[at % 2][case]: (kind, case)
    for kind, stems in STEMS.items()
    for at, stem in enumerate(stems)
    for case in range(6)
}


def test_spans_are_what_their_types_allow():
    assert timexes(2000, seed=1) == SENTENCES
    assert len(FORMS) == 6 * sum(KINDS.values())
    types = Counter()
    for words, tags in SENTENCES:
        for start, end, kind in spans(tags):
            said = [FORMS[word] for word in words[start:end]]
            assert tuple(each for each, _ in said) in TIMES[kind]
            # A preposition stands before, and all of it is in the case that it asks for.
            case = PREPOSITIONS.index(words[start - 1]) % 6
            assert {each for _, each in said} == {case}
            types[kind] += 1
    for kind in TIMES:
        assert types[kind] / types.total() == pytest.approx(0.25, abs=0.03)


def test_prepositions_and_numbers_do_not_tell():
    tagged = defaultdict(Counter)
    for words, tags in SENTENCES:
        for word, tag, before in zip(words, tags, ["", *words], strict=False):
            if before in PREPOSITIONS:
                tagged[before][tag != "O"] += 1
            if FORMS.get(word, ("",))[0] in ("number", "near", "whole", "every"):
                tagged[FORMS[word][0]][tag != "O"] += 1
    assert set(tagged) == {*PREPOSITIONS, *chain.from_iterable(OTHERS)} - {"noun"}
    seen = Counter(FORMS.get(word, ("",))[0] for words, _ in SENTENCES for word in words)
    assert seen["adjective"] / seen["noun"] == pytest.approx(0.4, abs=0.03)
    assert all(0.2 < seen[True] / seen.total() < 0.8 for seen in tagged.values())
