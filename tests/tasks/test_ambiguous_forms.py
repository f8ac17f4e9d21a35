"""Sentences with ambiguous forms: what tells a form's lemma."""

from collections import defaultdict
from itertools import chain

from statewise.tasks.tagging.ambiguous_forms import ambiguous_forms


def rows(sentences):
    for each in sentences:
        before = ["", *each.words]
        yield from zip(before, *each, strict=False)


def test_the_word_before_tells_what_the_form_does_not():
    train, test = ambiguous_forms(2000, 500, seed=3)
    assert (train, test) == ambiguous_forms(2000, 500, seed=3)
    tags, lemmas = defaultdict(set), defaultdict(set)
    for before, word, tag, lemma in rows([*train, *test]):
        assert tag == {"lo": "NOUN"}.get(before, tag)
        assert (word in ("lo", "ni")) == (tag in ("DET", "PRON"))
        if tag in ("NOUN", "VERB"):
            assert (before == "lo") == (tag == "NOUN")
            tags[word].add(tag)
            lemmas[word, tag].add(lemma)
            assert lemma.removesuffix("a") in word
            assert lemma.endswith("a") == (tag == "VERB")
    assert all(len(each) == 1 for each in lemmas.values())
    double = sum(len(each) == 2 for each in tags.values())
    assert double > 0.2 * len(tags)


def test_words_to_be_scored_are_new():
    train, test = ambiguous_forms(500, 200, seed=0)
    known, new = (
        set(chain.from_iterable(each.words for each in part)) - {"lo", "ni"}
        for part in (train, test)
    )
    assert not known & new
