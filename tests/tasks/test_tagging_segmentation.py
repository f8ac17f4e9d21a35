"""Words as tags of characters, counted by hand."""

import pytest

from statewise.tasks.tagging import boundaries, longest_matches, segmentation_report, spans


def test_words_are_spans_of_characters():
    tags = boundaries([2, 1, 3])
    assert tags == ["B", "E", "S", "B", "M", "E"]
    assert [(span.start, span.end) for span in spans(tags)] == [(0, 2), (2, 3), (3, 6)]
    assert boundaries([]) == []


def test_recall_is_told_apart_by_what_the_training_showed():
    characters = [tuple("abcdef"), tuple("ab")]
    wanted = [boundaries([2, 1, 3]), boundaries([1, 1])]  # ab c def; a b
    found = [boundaries([2, 1, 1, 2]), boundaries([2])]  # ab c d ef; ab
    report = segmentation_report(characters, wanted, found, {"ab", "a", "def"})
    assert report.words == (2, 5, 5)
    assert report.known == (1, 1, 3)  # of ab, def, a
    assert report.unknown == (1, 1, 2)  # of c, b
    assert "recall 33.33 of 3 known words, 50.00 of 2 unknown" in str(report)


def test_a_dictionary_takes_the_longest_word_from_the_left():
    known = {"ab", "abc", "cd", "e"}
    assert longest_matches("abcd", known) == boundaries([3, 1])  # and not ab cd
    assert longest_matches("abxcde", known) == boundaries([2, 1, 2, 1])
    assert longest_matches("ab", {"abc"}) == boundaries([1, 1])
    assert longest_matches("xy", set()) == boundaries([1, 1])
    assert longest_matches("", known) == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="word 2 has no characters"):
        boundaries([1, 0])
    with pytest.raises(ValueError, match="1 has 2 characters, 2 tags that are wanted and 1"):
        segmentation_report([("a", "b")], [["S", "S"]], [["S"]], set())
