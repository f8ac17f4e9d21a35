"""Sentences with names: what tells their type, and how often."""

import pytest

from statewise.tasks.tagging import spans
from statewise.tasks.tagging.name_endings import ENDINGS, name_endings


def test_endings_tell_types_of_new_names():
    train, test = name_endings(800, 300, seed=1)
    assert (train, test) == name_endings(800, 300, seed=1)
    right = all_words = 0
    names = []
    for words, tags in (train, test):
        names.append(set())
        for sentence, said in zip(words, tags, strict=True):
            assert len(sentence) == len(said)
            for span in spans(said):
                assert 1 <= span.end - span.start <= 3
                for word in sentence[span.start : span.end]:
                    right += word.endswith(ENDINGS[span.type])
                    all_words += 1
                    names[-1].add(word)
    assert not names[0] & names[1]
    assert right / all_words == pytest.approx(0.9, abs=0.02)
