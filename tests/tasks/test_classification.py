import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise.tasks.classification import Example, read_texts


def put(folder, content, name):
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def test_json_lines(tmp_path):
    lines = [{"text": "a b", "label": "x"}, {"text": "c", "label": 1}, {"text": "d", "label": True}]
    path = put(tmp_path, "\n".join(map(json.dumps, lines)) + "\n", "a.jsonl")
    assert read_texts(path).examples == [
        Example("a b", "x", 1),
        Example("c", "1", 2),
        Example("d", "True", 3),
    ]
    assert read_texts(path, label=None).examples[1] == Example("c", None, 2)


CSV = 'text,category,n\n"Hello, ""you""",greet,1\n\n"two\nlines",other,2\nbye,greet,3\n'


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.txt"])
def test_csv_by_names(tmp_path, name):
    texts = read_texts(put(tmp_path, CSV, name), "text", "category")
    assert texts.examples == [
        Example('Hello, "you"', "greet", 2),
        Example("two\nlines", "other", 4),
        Example("bye", "greet", 6),
    ]
    assert texts.notes == ()


def test_csv_of_another_system(tmp_path):
    path = put(tmp_path, "\ufeff" + CSV.replace("\n", "\r\n"), "a.csv")
    texts = read_texts(path, "text", "category")
    assert texts.examples == read_texts(put(tmp_path, CSV, "b.csv"), "text", "category").examples
    assert texts.notes == (
        f"{path}: a byte-order mark at the beginning is left out",
        f"{path}: 6 of 6 lines end in CRLF",
    )


def test_a_long_text_is_read_whole(tmp_path):
    path = put(tmp_path, f"text,label\n{'a' * 200_000},x\n", "a.csv")
    assert len(read_texts(path).examples[0].text) == 200_000


def test_tsv_quotes_nothing(tmp_path):
    path = put(tmp_path, 'x\tthe "one\ny\tno, "not" x\x85\u2028this\n\nx\ta\n', "a.tsv")
    assert read_texts(path, 2, 1).examples == [
        Example('the "one', "x", 1),
        Example('no, "not" x\x85\u2028this', "y", 2),
        Example("a", "x", 4),
    ]


def test_a_first_line_that_looks_like_names_is_told(tmp_path):
    path = put(tmp_path, "label\ttext\nx\ta\nx\tb\n", "a.tsv")
    assert read_texts(path, 2, 1).notes == (
        f"{path}:1: 'label' is the label of no other example; if it is the name of a column, ask "
        "for the columns by name",
    )
    assert read_texts(path).notes == ()
    assert len(read_texts(path).examples) == 2
    assert read_texts(path, 2, None).notes == ()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "text,label\na,x\nb\n", ":3: expected 2 columns, found 1"),
        ("a.csv", 'text,label\n"a\nb",x\nb,y,z\n', ":4: expected 2 columns, found 3"),
        ("a.csv", 'text,label\na,x\n"b,y\nc,z\n', ":3: this is no CSV (a quote is never closed)"),
        ("a.csv", 'text,label\na,x\n"b"c,y\n', ":3: this is no CSV ('"),
        ("a.csv", "text,labels\na,x\n", ":1: there should be one column 'label'; there are text,"),
        ("a.csv", "text,label,text\na,x,b\n", ":1: there should be one column 'text'"),
        ("a.csv", "text,label\n", ": there is no example in it"),
        ("a.csv", "\n", ":1: there should be one column 'text'"),
        ("a.csv", "text,label\n ,x\n", ":2: the text is empty"),
        ("a.csv", "text,label\na,\n", ":2: the label is empty"),
        ("a.csv", "text,label\na,x\rb,y\n", ":2: a CR inside the line"),
        ("a.csv", "text,label\na\0,x\n", ": this is a binary file"),
        ("a.csv", "text,label\n\xe4,x\n".encode("latin-1"), ":2: byte 0xe4 is not utf-8"),
        ("a.tsv", "text\tlabel\na\tx\nb y\n", ":3: expected 2 columns, found 1"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "la', ":2: this is not JSON"),
        ("a.jsonl", '{"text": "a"}\n', ":1: 'label' should be a string or a whole number"),
        ("a.jsonl", '{"text": "a", "label": ["x"]}\n', ":1: 'label' should be a string or"),
        ("a.jsonl", '{"text": 1, "label": "x"}\n', ":1: this is no object with a string 'text'"),
        ("a.jsonl", "[]\n", ":1: this is no object with a string 'text'"),
        ("a.jsonl", '{"text": "\\ud83d", "label": "x"}\n', ":1: the text has half a surrogate"),
        ("a.jsonl", '{"text": "", "label": "x"}\n', ":1: the text is empty"),
        ("a.jsonl", "\n\n", ": there is no example in it"),
    ],
)
def test_what_is_broken_is_named_in_one_sentence(tmp_path, name, content, sentence):
    path = put(tmp_path, content, name)
    with pytest.raises(ValueError, match=re.escape(f"{path}{sentence}")) as error:
        read_texts(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [(3, "no column 3; they count from 1 to 2"), (0, "no column 0"), (-1, "no column -1")],
)
def test_a_number_that_is_no_column(tmp_path, column, sentence):
    path = put(tmp_path, "a\tx\nb\ty\nc\n", "a.tsv")
    with pytest.raises(ValueError, match=sentence):
        read_texts(path, column, 1)
    with pytest.raises(ValueError, match=":3: expected 2 columns, found 1"):
        read_texts(path, 1, 2)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), min_size=1)


@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=4))
def test_any_unicode_is_read_as_it_was_written(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("unicode")
    quoted = "".join('"{}",x\n'.format(text.replace('"', '""')) for text in written)
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written)
    for path, text, label in (
        (put(folder, quoted, "a.csv"), 1, 2),
        (put(folder, lines, "a.jsonl"), "text", None),
    ):
        assert [example.text for example in read_texts(path, text, label).examples] == written
