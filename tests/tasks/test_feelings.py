"""Texts of a feeling, and what their hashtags say."""

import pytest

from statewise.tasks.feelings import FEELINGS, FILLERS, MEANING, PATTERNS, WORDS, feelings
from statewise.tasks.patterns import read_patterns


def test_the_word_after_feel_tells():
    texts, labels = feelings(300, seed=1)
    for text, label in zip(texts, labels, strict=True):
        words = text.split()
        assert len(words) == 8
        assert words[words.index("feel") + 1] in MEANING[label]
        assert sum(word in FILLERS for word in words) == 5
    assert {sum(label == one for label in labels) > 100 for one in FEELINGS} == {True}
    assert len({*FILLERS, *MEANING["stress"], *MEANING["calm"]}) == 100 + 2 * WORDS
    assert feelings(300, seed=1) == (texts, labels) != feelings(300, seed=2)


@pytest.mark.parametrize(("noise", "right"), [(0.0, (1, 1)), (0.4, (0.76, 0.84))])
def test_patterns_find_what_hashtags_say_and_take_them_away(tmp_path, noise, right):
    (tmp_path / "patterns.tsv").write_text(PATTERNS)
    texts, labels = feelings(2000, seed=3, noise=noise)
    found = read_patterns(tmp_path / "patterns.tsv").find(texts)
    assert len(found) == 2000
    share = sum(one.label == label for one, label in zip(found, labels, strict=True)) / 2000
    assert right[0] <= share <= right[1]
    assert not any("#" in one.text for one in found)
