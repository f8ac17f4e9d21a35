import gzip
import math

import pytest
import torch

from statewise.tasks import language

TEXT = "to be or not to be"


def tokens(text):
    return torch.tensor(list(text.encode()))


class Bigram(torch.nn.Module):
    """The last token alone decides; its state is that token, so a lost state shows."""

    def __init__(self, grows=False):
        super().__init__()
        self.table = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
        self.grows = grows

    def forward(self, tokens, state=None, *, reset=None):
        return self.table[tokens], tokens[:, -1:]

    def state_size(self, time):
        return time if self.grows else 1


def test_streams_are_the_picture_in_the_head():
    streams = language.Streams(tokens(TEXT), streams=2, context=4)
    rows = [
        [bytes(row.tolist()).decode() for row in part]
        for part in (*streams.batch(0)[:2], *streams.batch(1)[:2])
    ]
    assert rows == [["to b", "not "], ["o be", "ot t"], ["e or", "to b"], [" or ", "o be"]]


def test_streams_reset_where_the_text_begins_again_and_nowhere_else():
    streams = language.Streams(tokens(TEXT), streams=2, context=4)
    for step in range(12):
        batch = streams.batch(step)
        at = (torch.tensor([[0], [9]]) + 4 * step + torch.arange(4)) % len(TEXT)
        assert torch.equal(batch.reset, at == 0)
        assert torch.equal(batch.targets[:, :-1], batch.inputs[:, 1:])


def test_a_stream_goes_on_where_it_was():
    streams = language.Streams(tokens(TEXT), streams=3, context=5)
    assert torch.equal(streams.batch(0).targets[:, -1], streams.batch(1).inputs[:, 0])


def test_bits_per_byte_is_the_code_length_however_it_is_cut():
    model, text = Bigram(), tokens(TEXT)
    chances = model.table.softmax(-1)[text[:-1], text[1:]]
    expected = (8 - chances.log2().sum().item()) / len(TEXT)
    for context in (1, 4, 18, 4096):
        found = language.bits_per_byte(model, text, len(TEXT), context=context)
        assert math.isclose(found, expected, rel_tol=1e-5)


def test_a_growing_state_is_not_carried():
    text = tokens(TEXT)
    whole = language.bits_per_byte(Bigram(grows=True), text, len(TEXT), context=18)
    cut = language.bits_per_byte(Bigram(grows=True), text, len(TEXT), context=9)
    chance = Bigram().table[text[8]].log_softmax(-1)[text[9]].item() / math.log(2)
    assert math.isclose(cut - whole, (8 + chance) / len(TEXT), rel_tol=1e-4)


def test_gzip_is_read_as_it_is(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b"
    plain.write_text("naïve\n")
    packed.write_bytes(gzip.compress("naïve\n".encode()))
    assert language.read_text(plain) == language.read_text(packed) == "naïve\n"


def test_another_encoding_is_read_when_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve".encode("latin-1"))
    assert language.read_text(tmp_path / "a.txt", "latin-1") == "naïve"
    (tmp_path / "b.txt").write_bytes("naïve".encode("utf-16"))
    assert language.read_text(tmp_path / "b.txt", "utf-16") == "naïve"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file"),
        (b"", "the file is empty"),
        (gzip.compress(b"")[:20], "the file is empty"),
        (b"a\0b", "binary file, not text (a zero byte at offset 1)"),
        (b"one\ntwo \xff", "line 2: byte 0xff is not utf-8"),
        (gzip.compress(b"a text" * 99)[:-6], "the gzip file is damaged"),
    ],
)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        language.read_text(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(ValueError, match="this is a folder"):
        language.read_text(tmp_path)


def test_the_split_is_by_position():
    assert language.split("0123456789" * 10, 0.1) == ("0123456789" * 9, "0123456789")


@pytest.mark.parametrize("held_out", [0.0, 1.0, -0.5])
def test_a_split_needs_both_parts(held_out):
    with pytest.raises(ValueError, match=r"data\.held_out"):
        language.split("some text", held_out)


def test_a_text_too_short_is_refused():
    with pytest.raises(ValueError, match="too short"):
        language.split("abc", 0.1)
    with pytest.raises(ValueError, match="a context of 18 needs more"):
        language.Streams(tokens(TEXT), streams=1, context=18)
