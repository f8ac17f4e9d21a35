"""Different words: each once, in the order of their first drawing, and none that is taken."""

from statewise.tasks.different_words import different


def test_each_word_is_kept_once_and_taken_ones_are_not():
    drawn = iter(["b", "a", "b", "x", "c", "d"])
    assert different(lambda: next(drawn), 3, {"x"}) == ["b", "a", "c"]
    assert next(drawn) == "d"


def test_words_in_syllables_are_the_same_if_their_letters_are():
    drawn = iter([["ta", "na"], ["to"], ["tan", "a"], ["mi"]])
    assert different(lambda: next(drawn), 3) == [["tan", "a"], ["to"], ["mi"]]
