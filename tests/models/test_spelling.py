import unicodedata
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from statewise.models.spelling import (
    BEGINS,
    ENDS,
    LONGEST,
    PADDING,
    SHAPES,
    UNKNOWN,
    Vocabulary,
    check_sentences,
    cut,
    grams,
    key,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("They can't, really.", ["They", "can't", ",", "really", "."]),
        ("it\u2019s 3.5%", ["it\u2019s", "3", ".", "5", "%"]),
        ("我有3个苹果。", ["我", "有", "3", "个", "苹", "果", "。"]),
        ("ไปไหน now", ["ไ", "ป", "ไ", "ห", "น", "now"]),
        ("שלום, עולם", ["שלום", ",", "עולם"]),
        ("e\u0301te\u0301 — naïve", ["été", "—", "naïve"]),
        ("আমি ভাত খাই।", ["আমি", "ভাত", "খাই", "।"]),
        ("می‌روم ❤️ 👩‍👩‍👧!", ["می‌روم", "❤️", "👩‍👩‍👧", "!"]),
        ("  \t ", []),
    ],
)
def test_texts_are_cut_into_words(text, words):
    assert list(cut(text)) == words


@given(st.text())
def test_cutting_loses_nothing_but_blanks(text):
    normal = unicodedata.normalize("NFC", text)
    assert "".join(cut(text)) == "".join(normal.split())


def test_a_key_forgets_case_digits_and_how_an_accent_was_typed():
    assert key("Zürich2") == key("ZU\u0308RICH7") == "zürich0"


def test_grams_are_those_of_the_bordered_key():
    assert grams("Ab", 1 << 30) == grams("ab", 1 << 30)
    assert len(grams("ab", 1 << 30)) == 3  # <ab ab> <ab>
    assert len(set(grams("abc", 1 << 30))) == 6  # <ab abc bc> <abc abc> <abc>
    assert all(1 <= number <= 7 for number in grams("bewilderment", 7))
    # The same everywhere: a model would else read other words elsewhere.
    assert grams("a", 1 << 32) == [1 + zlib.crc32(b"<a>")]


def test_sentences_become_numbers():
    vocabulary = Vocabulary.of([["The", "the", "cat"], ["the", "dog", "x1"]], minimum=2)
    assert vocabulary.words == ("the",)
    spelling = vocabulary.spell([["The", "cat"], ["the"], []], buckets=50)
    batch = spelling.batch([1, 0, 2])
    assert batch.lengths.tolist() == [1, 2, 0]
    types = batch.types
    words = types.words[batch.places]
    assert words[0, 0] == words[1, 0] == UNKNOWN + 1
    assert words[1, 1] == UNKNOWN
    # Three different spellings, each once; "The" has more characters than are known.
    assert len(types.words) == 3
    assert types.characters[0, 0] == BEGINS
    assert types.characters[0, types.lengths[0] - 1] == ENDS
    capital = [name for name, _ in SHAPES].index("begins with a capital")
    assert types.shapes[:, capital].tolist() == [1, 0, 0]


def test_a_long_word_is_read_from_both_ends():
    vocabulary = Vocabulary.of([["a" * 100 + "b"]])
    types = vocabulary.spell([["a" * 100 + "b"]], buckets=0).types
    assert int(types.lengths[0]) == LONGEST + 2
    assert types.grams.shape == (1, 0)


def test_taking_some_drops_padding_alone():
    types = Vocabulary.of([["a", "abcdef"]]).spell([["a", "abcdef"]], buckets=9).types
    one = types.take(torch.tensor([0]))
    assert one.characters.shape == (1, 3)
    assert (one.grams != PADDING).all()


def test_rows_hold_every_sentence_once_and_no_more_than_asked():
    vocabulary = Vocabulary(["a"], ["a"])
    spelling = vocabulary.spell([["a"] * n for n in (3, 1, 0, 7, 2, 30)], buckets=0)
    rows = list(spelling.rows(8))
    assert sorted(at for some in rows for at in some) == list(range(6))
    for some in rows:
        longest = max(len(spelling.places[at]) for at in some)
        assert len(some) == 1 or longest * len(some) <= 8


def test_a_vocabulary_is_saved_and_loaded(tmp_path):
    vocabulary = Vocabulary.of([["naïve", "\udce4x", "我"]])
    vocabulary.save(tmp_path / "v.json")
    again = Vocabulary.load(tmp_path / "v.json")
    assert (again.words, again.characters) == (vocabulary.words, vocabulary.characters)


@pytest.mark.parametrize("text", ["", "{}", '{"words": ["a"], "characters": "ab"}', "[1]"])
def test_a_damaged_vocabulary_is_refused(tmp_path, text):
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(ValueError, match="the vocabulary is damaged"):
        Vocabulary.load(tmp_path / "v.json")


def test_the_order_of_a_vocabulary_is_not_that_of_the_sentences():
    one = Vocabulary.of([["b", "a"], ["c", "c"]])
    assert one.words == Vocabulary.of([["c", "a"], ["b", "c"]]).words == ("c", "a", "b")


@pytest.mark.parametrize(
    ("sentences", "why"),
    [
        (["They run"], "sentence 1 is a string"),
        ([["a"], ["b", ""]], "word 2 of sentence 2 is ''"),
        ([["a", None]], "word 2 of sentence 1 is None"),
    ],
)
def test_what_is_no_list_of_words_is_refused(sentences, why):
    with pytest.raises(ValueError, match=why):
        check_sentences(sentences)
