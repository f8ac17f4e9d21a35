import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from statewise.models import ByteTokenizer, FileTokenizer

TEXT = "the cat sat on the mat, don't you think? naïve café 日本語 😀 "


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


def byte_fallback():
    """As in Llama: a byte stands for itself where a character is unknown."""
    pieces = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *"▁theca"]
    tokenizer = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def metaspace_without_unknown():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=80, show_progress=False)
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=80, special_tokens=["[UNK]"], show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 9, trainer)
    return tokenizer


def no_unknown():
    """A model that leaves out, silently, what it cannot spell."""
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate("abc")}, []))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def opened(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return FileTokenizer(path)


@pytest.mark.parametrize("kind", [byte_level, unigram, byte_fallback, word_piece])
def test_the_bytes_of_tokens_joined_are_the_text(kind, tmp_path):
    theirs = kind()
    ours = opened(theirs, tmp_path)
    tokens = ours.encode(TEXT)
    assert tokens == theirs.encode(TEXT, add_special_tokens=False).ids
    assert ours.vocab == theirs.get_vocab_size()
    joined = b"".join(map(ours.bytes_of, tokens))
    assert joined == ours.decode_bytes(tokens)
    # Alone, a decoder drops the space before the first word; inside a text it does not.
    assert joined.decode().removeprefix(" ") == theirs.decode(tokens).removeprefix(" ")


def test_a_character_may_take_several_tokens(tmp_path):
    tokenizer = opened(byte_fallback(), tmp_path)
    tokens = tokenizer.encode("the é")
    assert [tokenizer.bytes_of(token) for token in tokens[-2:]] == [b"\xc3", b"\xa9"]


def test_special_tokens_write_nothing(tmp_path):
    tokenizer = opened(byte_level(), tmp_path)
    assert tokenizer.decode_bytes(tokenizer.encode("a<|end|>b")) == b"ab"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (unigram, "cat Q sat", "no token for 'Q' at position 4"),
        (word_piece, "the catQ", "no token for 'Q' at position 7"),
        (no_unknown, "ab z", "no token for 'z' at position 3"),
        (metaspace_without_unknown, "the 中 cat", "no token for '中' at position 4"),
        (no_unknown, "z", "no token for 'z' at position 0"),
        (no_unknown, "azb", "no token for 'z' at position 1"),
        (byte_level, b"ab\xff", "byte 0xff at position 2 of the text is not UTF-8"),
        (byte_level, "a\udc80", "byte 0x80 at position 1 of the text is not UTF-8"),
        (byte_level, "a\ud800", r"'\\ud800' at position 1 .* surrogate"),
    ],
)
def test_a_text_it_cannot_spell_is_refused(kind, text, message, tmp_path):
    tokenizer = opened(kind(), tmp_path)
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(text)


def test_a_decoder_that_looks_around_is_refused(tmp_path):
    tokenizer = Tokenizer(models.BPE({"a": 0, "b</w>": 1}, [], end_of_word_suffix="</w>"))
    tokenizer.decoder = decoders.BPEDecoder()
    with pytest.raises(ValueError, match=r"token by token \(decoder: BPEDecoder\)"):
        opened(tokenizer, tmp_path)


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        FileTokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"other\.json is no tokenizer\.json"):
        FileTokenizer(tmp_path / "other.json")


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'statewise\[lm\]'"):
        FileTokenizer(tmp_path / "tokenizer.json")


def test_bytes_are_the_tokens():
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("é") == [0xC3, 0xA9] == tokenizer.encode(b"\xc3\xa9")
    assert tokenizer.encode("\udcff") == [0xFF]  # an argument of a command that was not UTF-8
    assert tokenizer.decode_bytes(range(256)) == bytes(range(256))
    assert tokenizer.bytes_of(200) == b"\xc8"
    with pytest.raises(ValueError, match="position 1 of the text is half a surrogate pair"):
        tokenizer.encode("a\ud800")
