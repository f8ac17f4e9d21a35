import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statewise.tasks.tagging import (
    Sentence,
    read_columns,
    read_conllu,
    read_jsonl,
    read_sentences,
)

LATE = """\
# newdoc id = a
# text = It's late.
1-2\tIt's\t_\t_\t_\t_\t_\t_\t_\t_
1\tIt\tit\tPRON\tPRP\tCase=Nom|Number=Sing\t3\tnsubj\t_\t_
2\t's\tbe\tAUX\tVBZ\tMood=Ind\t3\tcop\t_\t_
2.1\t_\t_\t_\t_\t_\t_\t_\t_\t_
3\tlate\tlate\tADJ\tJJ\t_\t0\troot\t_\tSpaceAfter=No|NER=O
4\t.\t.\tPUNCT\t.\t_\t3\tpunct\t_\tSpaceAfter=No

"""
SO = "# newdoc\n1\tSo\tso\tADV\tRB\t_\t0\troot\t_\t_\n\n"


def put(folder, content, name="a.conllu"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(read, *arguments, **named):
    """Return the one sentence with which reading is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        read(*arguments, **named)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_conllu(tmp_path):
    path = put(tmp_path, LATE + SO)
    columns = ("upos", "lemma", "feats.Number", "misc.NER")
    corpus = read_conllu(path, columns)
    assert corpus.sentences == [
        Sentence(
            ("It", "'s", "late", "."),
            {
                "upos": ("PRON", "AUX", "ADJ", "PUNCT"),
                "lemma": ("it", "be", "late", "."),
                "feats.Number": ("Sing", "_", "_", "_"),
                "misc.NER": ("_", "_", "O", "_"),
            },
            {},
            (4, 5, 7, 8),
            0,
        ),
        Sentence(
            ("So",),
            {"upos": ("ADV",), "lemma": ("so",), "feats.Number": ("_",), "misc.NER": ("_",)},
            {},
            (11,),
            1,
        ),
    ]
    assert corpus.notes == (
        f"{path}: 1 ranges, whose words are read, are left out",
        f"{path}: 1 empty nodes are left out",
    )
    assert corpus.place(0, 2) == f"{path}:7"
    assert corpus.scheme("upos").scheme is None
    packed = put(tmp_path, gzip.compress((LATE + SO).encode()), "b.conllu.gz")
    assert read_sentences(packed, columns).sentences == corpus.sentences
    assert read_conllu(path, ()).sentences[1].tags == {}
    assert read_conllu(path, ["feats.Numbr"]).notes[-1] == f"{path}: no word has feats.Numbr"


W = "1\tSo\tso\tADV\tRB\t_\t0\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LATE + W.replace("\t_\n", "\n") + "\n", ":10: expected 10 columns, found 9"),
        (LATE + W.replace("\n", "\t_\n") + "\n", ":10: expected 10 columns, found 11"),
        (LATE + "1 So so ADV RB _ 0 root _ _\n\n", ":10: .* 10 columns, found 1; .* tabs"),
        (LATE.removesuffix("\n") + SO, ":9: a comment inside a sentence"),
        (LATE.removesuffix("\n") + W + "\n", ":9: expected word 5, found 1; a blank line should"),
        (LATE + W.replace("1", "2") + "\n", ":10: expected word 1, found 2$"),
        (LATE.replace("1-2", "1-5"), ":8: a range ends with word 5, and the sentence with word 4"),
        (LATE + W.replace("1", "a") + "\n", ":10: 'a' is no number of a word"),
        (LATE + W.replace("1", "\u0661") + "\n", ":10: '.' is no number of a word"),
        (LATE + W.replace("So", "", 1) + "\n", ":10: the form is empty"),
        (LATE + W.replace("ADV", "") + "\n", ":10: column upos is empty; _ is for nothing"),
        (LATE + "# sent_id = 2\n\n" + SO, ":10: the sentence has no words"),
        (LATE + "1.1\tSo" + "\t_" * 8 + "\n\n", ":10: the sentence has no words"),
        (LATE + SO.removesuffix("\n"), ":11: the file ends inside a sentence; .* cut short"),
        (LATE + SO[:30], ":11: expected 10 columns, found 8"),
        (LATE + "# text = S", ":10: the sentence has no words"),
        (W.replace("ADV", "_") + "\n", ": no word has anything in column upos"),
        ("\n \t\n\n", ": there is no sentence in it"),
        ("", ": the file is empty"),
        (LATE.replace("late", "la\0te"), ": this is a binary file, not text"),
        (LATE.encode("utf-16"), "this is a binary file|is not utf-8"),
        (LATE.replace("It", "Ít").encode("latin-1"), ":2: byte 0xcd is not utf-8"),
        (LATE.replace("\n", "\r"), ":1: a CR inside the line; lines end in LF or CRLF"),
        (LATE + "\ufeff" + SO, ":10: a byte-order mark inside the file"),
        (gzip.compress(LATE.encode())[:-9], ": the gzip file is damaged"),
    ],
)
def test_conllu_that_is_broken_is_named_in_one_sentence(tmp_path, content, sentence):
    path = put(tmp_path, content)
    said = refused(read_conllu, path)
    assert said.startswith(str(path))
    assert re.search(sentence, said), said


@pytest.mark.parametrize("column", ["pos", "feats.", "upos.Number", "FORM", "4", ""])
def test_a_column_that_conllu_does_not_have(tmp_path, column):
    path = put(tmp_path, LATE)
    if column == "feats.":
        assert read_conllu(path, [column]).tags(column)[0][2] == "_"
    else:
        assert f"there is no column {column!r} in CoNLL-U" in refused(read_conllu, path, [column])


COLUMNS = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\nGerman JJ B-MISC\n"


def test_columns(tmp_path):
    path = put(tmp_path, COLUMNS + "\n-DOCSTART-\n\t \nBlackburn NNP I-PER", "a.txt")
    corpus = read_columns(path, columns=(2, -1))
    assert [sentence.words for sentence in corpus.sentences] == [
        ("EU", "rejects"),
        ("German",),
        ("Blackburn",),
    ]
    assert corpus.sentences[0].tags == {2: ("NNP", "VBZ"), -1: ("B-ORG", "O")}
    assert [sentence.lines for sentence in corpus.sentences] == [(3, 4), (7,), (11,)]
    assert [sentence.document for sentence in corpus.sentences] == [0, 0, 1]
    assert corpus.notes == (
        f"{path}: the last line has no end; perhaps the file is cut short",
        f"{path}: columns are divided by spaces",
        f"{path}: 2 lines of -DOCSTART- are left out",
    )
    assert f"'I-PER' after the border of the sentence ({path}:11)" in str(corpus.scheme(-1))
    assert read_columns(path, words=2, columns=[1]).sentences[2].words == ("NNP",)


def words_of(*arguments, **named):
    return [sentence.words for sentence in read_columns(*arguments, **named).sentences]


def test_columns_are_divided_as_in_the_whole_file(tmp_path):
    """A tab in every line divides, and then blanks belong to words; else any blanks do."""
    assert words_of(put(tmp_path, "New York\tB\n2\u00a0000 km\tO\n")) == [
        ("New York", "2\u00a0000 km")
    ]
    mixed = put(tmp_path, "York B\n 2\u00a0000   \t O \n")
    assert words_of(mixed) == [("York", "2\u00a0000")]
    spaces = put(tmp_path, "York B\n2\u00a0000\u3000 O\n")
    assert words_of(spaces) == [("York", "2\u00a0000\u3000")]
    assert "by spaces" in read_columns(spaces).notes[0]
    other = put(tmp_path, "a b|O\nc\t|O\n")
    assert words_of(other, separator="|") == [("a b", "c\t")]
    assert read_columns(other, separator="|").notes == (f"{other}: columns are divided by '|'",)


def test_words_may_look_like_comments_unless_they_are_told_of(tmp_path):
    path = put(tmp_path, "# id 1\n# x 2\n#tag O\n# O\n\n# id 3\na O\n")
    assert ":3: expected 3 columns, found 2" in refused(read_columns, path)
    corpus = read_columns(path, comment="# ")
    assert [sentence.words for sentence in corpus.sentences] == [("#tag", "#"), ("a",)]
    assert corpus.notes[-1] == f"{path}: 3 comments are left out"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a b c O\na b O\nc d e O\n", ":2: expected 4 columns, found 3"),
        ("a b\na b c\nc d e\n", ":1: expected 3 columns, found 2"),
        ("a\tB\tO\nb\t\tO\nc\tO\n", ":3: expected 3 columns, found 2"),
        ("a\tO\n\tO\n", ":2: column 1 is empty"),
        ("a\tO\nb\t\n", ":2: column -1 is empty"),
        ("\n\n", ": there is no sentence in it"),
        ("-DOCSTART- O\n\n", ": there is no sentence in it"),
        ("a O\nb\rc O\n", ":2: a CR inside the line"),
        ("a O\nb\0 O\n", "a zero byte"),
    ],
)
def test_columns_that_are_broken_are_named_in_one_sentence(tmp_path, content, sentence):
    path = put(tmp_path, content, "a.txt")
    said = refused(read_columns, path)
    assert said.startswith(str(path))
    assert sentence in said


@pytest.mark.parametrize("column", [0, 4, -4])
def test_a_column_that_is_not_there(tmp_path, column):
    path = put(tmp_path, COLUMNS)
    wanted = f"{path}: there is no column {column}; they count from 1 to 3, or from -1 to -3"
    assert refused(read_columns, path, columns=[column]) == wanted
    assert refused(read_columns, path, words=column) == wanted


@pytest.mark.parametrize("read", [read_columns, read_conllu])
def test_marks_and_line_ends_of_other_systems_are_read_and_told(tmp_path, read):
    content = LATE + SO if read is read_conllu else COLUMNS
    plain = read(put(tmp_path, content))
    path = put(tmp_path, ("\ufeff" + content).replace("\n", "\r\n"))
    other = read(path)
    assert other.sentences == plain.sentences
    count = content.count("\n")
    assert other.notes[:2] == (
        f"{path}: a byte-order mark at the beginning is left out",
        f"{path}: {count} of {count} lines end in CRLF",
    )
    assert other.notes[2:] == plain.notes


PLAY = {"tokens": ["Play", "jazz"], "tags": ["O", "B-genre"], "intent": "music", "n": 1}


def test_json_lines(tmp_path):
    other = {"tokens": ["Stop"], "tags": ["O"], "intent": "halt"}
    path = put(tmp_path, f"{json.dumps(PLAY)}\n\n{json.dumps(other)}\n", "a.jsonl")
    corpus = read_jsonl(path, "tokens", labels=["intent"])
    assert corpus.sentences == [
        Sentence(("Play", "jazz"), {"tags": ("O", "B-genre")}, {"intent": "music"}, (1, 1), 0),
        Sentence(("Stop",), {"tags": ("O",)}, {"intent": "halt"}, (3,), 0),
    ]
    assert corpus.notes == ()
    assert read_sentences(path, ["tags"], words="tokens").tags("tags") == corpus.tags("tags")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tags": ["O"]}, ":2: expected 2 entries in 'tags', found 1"),
        ({"tags": "O O"}, ":2: 'tags' should be a list of strings"),
        ({"tags": None}, ":2: 'tags' should be a list of strings"),
        ({"tokens": ["a", 1]}, ":2: 'tokens' should be a list of strings"),
        ({"tokens": ["a", ""]}, ":2: entry 2 of 'tokens' is empty"),
        ({"tokens": ["a", "\ud83d"]}, ":2: the text has half a surrogate pair"),
        ({"tokens": [], "tags": []}, ":2: the sentence has no words"),
        ({"intent": 3}, ":2: 'intent' should be a string, and not empty"),
        ({"intent": ""}, ":2: 'intent' should be a string, and not empty"),
        ({"intent": "\ud83d"}, ":2: the text has half a surrogate pair"),
    ],
)
def test_json_that_does_not_fit_is_named_in_one_sentence(tmp_path, change, sentence):
    path = put(tmp_path, f"{json.dumps(PLAY)}\n{json.dumps({**PLAY, **change})}\n", "a.jsonl")
    assert refused(read_jsonl, path, "tokens", labels=["intent"]).startswith(f"{path}{sentence}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a', ":2: this is not JSON"),
        ('["a"]\n', ":1: this is no object with a list 'tokens'"),
        ("\n", ": there is no sentence in it"),
    ],
)
def test_lines_that_are_no_sentences_are_named(tmp_path, content, sentence):
    path = put(tmp_path, content, "a.jsonl")
    assert refused(read_jsonl, path, "tokens").startswith(f"{path}{sentence}")


def test_a_file_is_read_as_its_name_ends(tmp_path):
    path = put(tmp_path, COLUMNS, "a.conll")
    corpus = read_sentences(path, ["-1"])
    assert corpus.tags("-1") == [("B-ORG", "O"), ("B-MISC",)]
    assert read_sentences(path, ["1"], words="2").sentences[0].words == ("NNP", "VBZ")
    assert "not 'upos'" in refused(read_sentences, path, ["upos"])
    assert "not '-1', 'word'" in refused(read_sentences, path, ["-1"], words="word")
    tree = put(tmp_path, LATE)
    assert "are in form, not in '2'" in refused(read_sentences, tree, ["upos"], words="2")
    assert "there is no such file" in refused(read_sentences, tmp_path / "b.conll", ["-1"])
    assert "this is a folder" in refused(read_sentences, tmp_path, ["-1"])


BREAKS = "\n\r\t\0\ufeff"
WORD = st.text(st.characters(codec="utf-8", exclude_characters=BREAKS), min_size=1).filter(
    lambda word: word.strip(" ") == word and not word.startswith("-DOCSTART-")
)


@given(st.lists(st.lists(WORD, min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_unicode_is_read_as_it_was_written(tmp_path_factory, sentences):
    """Other blanks, other line ends, writing from right to left, and what has no glyph at all."""
    folder = tmp_path_factory.mktemp("unicode")
    rows = "\n\n".join("\n".join(f"{word}\tX" for word in words) for words in sentences)
    columns = read_columns(put(folder, rows + "\n", "a.txt"))
    tree = "".join(
        "".join(f"{n}\t{word}" + "\tX" * 8 + "\n" for n, word in enumerate(words, 1)) + "\n"
        for words in sentences
    )
    lines = (json.dumps({"words": words}, ensure_ascii=False) for words in sentences)
    read = (
        columns,
        read_conllu(put(folder, tree)),
        read_jsonl(put(folder, "\n".join(lines) + "\n", "a.jsonl"), columns=()),
    )
    for corpus in read:
        assert [list(sentence.words) for sentence in corpus.sentences] == sentences
