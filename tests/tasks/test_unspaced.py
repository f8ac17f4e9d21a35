"""A script without spaces: its words, and how many of them are new."""

from statewise.tasks.tagging.unspaced import COMMON, SURNAMES, unspaced


def test_words_are_common_or_names():
    sentences = unspaced(500, seed=1)
    words = [word for sentence in sentences for word in sentence]
    assert {len(sentence) for sentence in sentences} == {10}
    assert len(set(COMMON)) == 400
    others = [word for word in words if word not in COMMON]
    assert all(word[0] in SURNAMES and len(word) in (2, 3) for word in others)
    assert 0.12 < len(others) / len(words) < 0.18
    assert unspaced(500, seed=1) == sentences != unspaced(500, seed=2)
    assert all(word in COMMON for sentence in unspaced(50, seed=1, names=0.0) for word in sentence)
    # The first is the most frequent, by (399 + 20) / 20 in the mean; names are new again and again.
    assert words.count(COMMON[0]) > 5 * words.count(COMMON[-1])
    known = set(words)
    new = [word for sentence in unspaced(500, seed=2) for word in sentence if word not in known]
    assert 0.08 < len(new) / 5000 < 0.16
