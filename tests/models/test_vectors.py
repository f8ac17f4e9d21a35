import gzip

import pytest
import torch

from statewise.models.vectors import read_vectors

PLAIN = "The 1 2\nthe 3 4\nNew York 5 6\nrare 7 8\n"


@pytest.mark.parametrize("head", ["", "4 2\n"], ids=["GloVe", "word2vec"])
@pytest.mark.parametrize("packed", [False, True])
def test_wanted_vectors_are_read(tmp_path, head, packed):
    path = tmp_path / "vectors.txt"
    data = (head + PLAIN).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    found, dim = read_vectors(path, {"the", "new york", "absent"})
    assert dim == 2
    assert set(found) == {"the", "new york"}
    torch.testing.assert_close(found["new york"], torch.tensor([5.0, 6.0]))


def test_the_first_of_a_key_counts(tmp_path):
    path = tmp_path / "v"
    path.write_text("4 2\n" + PLAIN)
    found, _ = read_vectors(path, {"the"})
    assert found["the"].tolist() == [1, 2]


def test_the_first_words_of_a_file_are_wanted_anyway(tmp_path):
    path = tmp_path / "v"
    path.write_text("a 1\nb 2\nc 3\n")
    assert set(read_vectors(path, set(), first=2)[0]) == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"3 2\na 1 2\nb 1\n", r":3: expected a word and 2 numbers, found 1"),
        (b"a 1 2\nb 1 x\n", r":2: this is no vector"),
        (b"a 1 2\nb 1 nan\n", r":2: the vector is not finite"),
        (b"", "there are no word vectors in it"),
        (b"word\n", ":1: expected a word and 1 numbers, found 0"),
        (b"1 300\n\xff\xfe\x00", ":2: byte 0xff is not UTF-8; is this the binary format"),
        (gzip.compress(b"a 1 2\n" * 9)[:-9], "the gzip file is damaged"),
    ],
)
def test_what_is_no_file_of_vectors_is_refused(tmp_path, text, why):
    path = tmp_path / "vectors"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=why):
        read_vectors(path, {"a", "b"})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file of word vectors"):
        read_vectors(tmp_path / "no", set())
