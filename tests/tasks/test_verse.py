"""Verse: stresses by the rule, and lines that keep their metre."""

from statewise.tasks.verse import MARK, METRES, stressed, verse


def test_where_a_word_is_stressed():
    assert stressed(["ta"]) == -1
    assert stressed(["tan"]) == 0
    assert stressed(["ta", "lan"]) == 0
    assert stressed(["ta", "lan", "do"]) == 1
    assert stressed(["tan", "la", "do"]) == 0
    assert stressed(["ta", "lan", "do", "mi"]) == 1
    assert stressed(["ta", "la", "don", "mi"]) == 2


def test_lines_keep_their_metre_and_share_no_word():
    train, test = verse(200, 200, seed=3)
    assert (train, test) == verse(200, 200, seed=3)
    for line in (*train, *test):
        assert line.marked.replace(MARK, "") == line.text
        # A vowel is a syllable, and stressed if a mark follows.
        stresses = [
            "/" if line.marked[at + 1 : at + 2] == MARK else "x"
            for at, letter in enumerate(line.marked)
            if letter in "aeiou"
        ]
        assert "".join(stresses) == METRES[line.metre] * 4
    words, others = ({w for line in part for w in line.text.split()} for part in (train, test))
    assert not words & others
    assert {line.metre for line in train} == set(METRES)
