import gzip
import json
import re

import pytest
import torch

from statewise.tasks import documents


def test_gzip_is_read_as_it_is(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b"
    plain.write_text("naïve\n")
    packed.write_bytes(gzip.compress("naïve\n".encode()))
    assert documents.read_text(plain) == documents.read_text(packed) == "naïve\n"


def test_another_encoding_is_read_when_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve".encode("latin-1"))
    assert documents.read_text(tmp_path / "a.txt", "latin-1") == "naïve"
    (tmp_path / "b.txt").write_bytes("naïve".encode("utf-16"))
    assert documents.read_text(tmp_path / "b.txt", "utf-16") == "naïve"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (gzip.compress(b"")[:20], "the file is empty"),
        (b"a\0b", "binary file, not text (a zero byte at offset 1)"),
        (b"one\ntwo \xff", ":2: byte 0xff is not utf-8"),
        (gzip.compress(b"a text" * 99)[:-6], "the gzip file is damaged"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        documents.read_text(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="this is a folder"):
        documents.read_text(tmp_path)


def test_one_document_is_split_by_position():
    assert documents.split(["0123456789" * 10], 0.1) == (["0123456789" * 9], ["0123456789"])


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.5])
def test_a_split_needs_both_parts(held_out):
    with pytest.raises(ValueError, match=r"data\.held_out"):
        documents.split(["some text"], held_out)


def test_a_text_too_short_is_refused():
    with pytest.raises(ValueError, match="too short"):
        documents.split(["abc"], 0.1)


@pytest.mark.parametrize(
    ("lengths", "held_out", "border"),
    [
        ([10] * 10, 0.1, 9),
        ([10] * 10, 0.34, 7),
        ([10] * 10, 0.001, 9),
        ([10] * 10, 0.999, 1),
        ([90, 5, 5], 0.1, 1),
        ([1, 98, 1], 0.3, 2),
        ([1, 1], 0.5, 1),
    ],
)
def test_several_documents_are_split_whole_at_the_nearest_border(lengths, held_out, border):
    texts = [chr(97 + at) * length for at, length in enumerate(lengths)]
    assert documents.split(texts, held_out) == (texts[:border], texts[border:])


def test_shuffling_hangs_on_the_seed_alone():
    texts = [str(at) for at in range(50)]
    torch.manual_seed(1)
    first = documents.shuffle(texts, 3)
    before = torch.random.get_rng_state()
    assert documents.shuffle(texts, 3) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sorted(first, key=int) == texts
    assert len({tuple(documents.shuffle(texts, seed)) for seed in range(5)}) == 5
    assert texts == [str(at) for at in range(50)]


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "README.md"])
def test_a_text_is_one_document_or_what_a_separator_leaves(tmp_path, name):
    path = written(tmp_path, name, "<>one\n<><>two<>")
    assert documents.read_documents(path) == ["<>one\n<><>two<>"]
    assert documents.read_documents(path, separator="<>") == ["one\n", "two"]
    assert documents.read_documents(path, separator="||") == ["<>one\n<><>two<>"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_line_of_json_is_a_document(tmp_path, name):
    texts = ["one\n\ntwo\u2028\0", "", "naïve"]
    lines = [json.dumps({"body": text, "text": 1}, ensure_ascii=False) for text in texts]
    path = written(tmp_path, name, "\r\n".join(["", *lines, " "]) + "\n\n")
    found = documents.read_documents(path, field="body", separator="\n")
    assert found == ["one\n\ntwo\u2028\0", "naïve"]


def test_a_folder_is_its_files_sorted_by_path(tmp_path):
    written(tmp_path, "b.txt", "3")
    written(tmp_path, "a/z.txt.gz", "2")
    written(tmp_path, "a/b/c.jsonl", '{"text": "0"}\n{"text": "1"}')
    written(tmp_path, "c.jsonl.gz", '{"text": "4"}')
    for other in ("notes", "c.md", "d.json", "e.txt.zip"):
        written(tmp_path, other, "not this")
    (tmp_path / "f.txt").mkdir()
    assert documents.read_documents(tmp_path) == list("01234")
    assert documents.read_documents(str(tmp_path / "a")) == list("012")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"text": "a"}\n\n{"text": "b"', ":3: this is not JSON (Expecting"),
        ("[" * 10**5, ":1: this is not JSON ("),
        ('{"text": "a"}\n"b"', ":2: this is no object with a string 'text'"),
        ('{"body": "a"}', "name its text with --data.field"),
        ('{"text": null}', ":1: this is no object with a string 'text'"),
        ('{"text": "\\ud83d"}', ":1: the text has half a surrogate pair"),
        ('{"text": ""}\n', "there is no document in it"),
        ("\n\n", "there is no document in it"),
    ],
)
def test_bad_json_lines_are_named_in_one_sentence(tmp_path, content, sentence):
    path = written(tmp_path, "a.jsonl", content)
    for named in (path, tmp_path):
        with pytest.raises(ValueError, match=re.escape(sentence)) as error:
            documents.read_documents(named)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)


def test_what_holds_no_document_is_refused(tmp_path):
    written(tmp_path, "a.md", "text")
    with pytest.raises(ValueError, match=r"\*\.txt, \*\.txt\.gz, \*\.jsonl, \*\.jsonl\.gz"):
        documents.read_documents(tmp_path)
    path = written(tmp_path, "a.txt", "----")
    with pytest.raises(ValueError, match=r"a\.txt: there is no document"):
        documents.read_documents(path, separator="--")
    with pytest.raises(ValueError, match=r"data\.separator is empty"):
        documents.read_documents(path, separator="")
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file"):
        documents.read_documents(tmp_path / "nowhere")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.txt: the file is empty"):
        documents.read_documents(tmp_path)
