import gzip

import pytest

from statewise.tasks.lexicon import read_lexicon

TEXT = "good\t0.9\t0.4\n\nNew York\t0 1e-1\ngood\t0.9 0.4\n"


@pytest.mark.parametrize("packed", [False, True])
def test_words_and_their_numbers(tmp_path, packed):
    path = tmp_path / "lexicon.tsv"
    path.write_bytes(gzip.compress(TEXT.encode()) if packed else TEXT.encode())
    found = read_lexicon(path)
    assert found.words == {"good": (0.9, 0.4), "New York": (0.0, 0.1)}
    assert found.numbers == 2
    assert found.notes == ()


def test_what_looks_odd_is_told(tmp_path):
    path = tmp_path / "l"
    path.write_bytes(b"\xef\xbb\xbfgood\t1\r\n")
    (mark, ends) = read_lexicon(path).notes
    assert "byte-order mark" in mark
    assert "CRLF" in ends


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("good 1 2\n", ":1: expected a word, a tab and numbers"),
        ("a\t1\n\t2\n", ":2: expected a word, a tab and numbers"),
        ("a\t1 2\nb\t1\n", ":2: expected 2 numbers, found 1"),
        ("a\t\n", ":1: expected 1 numbers, found 0"),
        ("word\tvalence\n", ":1: 'valence' is no number"),
        ("a\t1\nb\tinf\n", ":2: 'inf' is not finite"),
        ("a\t1\na\t2\n", ":2: 'a' stood there before, with other numbers"),
        ("\n\n", "there is no word in it"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_lexicon_is_refused(tmp_path, text, why):
    path = tmp_path / "lexicon.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        read_lexicon(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_lexicon(tmp_path / "no")
