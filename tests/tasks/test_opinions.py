"""Texts of opinions: which words tell, and how often."""

import random
from collections import Counter

import pytest

from statewise.tasks.opinions import ASIDE, DENIED, EMOTIONS, GOOD, OPPOSITE, Opinions, misspelled


def test_the_salient_words_tell_the_emotion():
    language = Opinions(3)
    assert language.texts(50, seed=4) == Opinions(3).texts(50, seed=4)
    about = {stem: emotion for emotion, stems in language.stems.items() for stem in stems}
    assert not set(about) & set(language.fillers)
    texts = language.texts(3000, seed=1)
    kinds = Counter()
    for text in texts:
        told = [text.words[at] for at in text.salient]
        # Endings may make a stem of a longer one: some stem tells it.
        stems = {about[told[-1][:n]] for n in range(2, 9) if told[-1][:n] in about}
        denied = told[0] == DENIED
        assert len(told) == 1 + denied
        assert text.emotion in ({OPPOSITE[one] for one in stems} if denied else stems)
        assert (text.sentiment == "good") == (text.emotion in GOOD)
        before = text.words[text.salient[0] - 1 : text.salient[0]]
        assert before != [ASIDE]
        kinds["denied"] += denied
        kinds["aside"] += ASIDE in text.words
        kinds[text.emotion] += 1
    assert kinds["denied"] / 3000 == pytest.approx(0.3, abs=0.03)
    assert kinds["aside"] / 3000 == pytest.approx(0.5, abs=0.03)
    assert all(kinds[one] / 3000 == pytest.approx(0.25, abs=0.03) for one in EMOTIONS)


def test_asides_are_as_many_as_asked_for():
    texts = Opinions(3, asides=0.0).texts(200, seed=1)
    assert not any(ASIDE in text.words for text in texts)


def test_misspelled():
    assert misspelled("word", random.Random(0), 0.0) == "word"
    draw = random.Random(1)
    changed = sum(
        a != b
        for _ in range(500)
        for a, b in zip("word", misspelled("word", draw, 0.5), strict=True)
    )
    assert changed / 2000 == pytest.approx(0.5 * 25 / 26, abs=0.04)
