"""Convolutions over words, before the layers."""

import pytest
import torch

from statewise.models.filters import Filters
from statewise.models.sentence_encoder import EncoderConfig, SentenceEncoder
from statewise.models.spelling import Vocabulary
from statewise.models.word_encoder import WordConfig

LENGTHS = torch.tensor([6, 3, 0, 1])


def padded(fill):
    x = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(torch.arange(6)[None, :, None] < LENGTHS[:, None, None], x, fill)


def test_they_are_their_formula():
    torch.manual_seed(0)
    filters, x = Filters(5, (1, 2, 5), 3).double(), padded(0.0)
    y = filters(x, LENGTHS)
    assert y.shape == (4, 6, 9)
    rows = [(c.weight[f], c.bias[f]) for c in filters.convolutions for f in range(3)]
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            for at, ((weight, bias), (left, right)) in enumerate(
                zip(rows, filters.windows(), strict=True)
            ):
                inside = [j for j in range(left, right) if 0 <= t + j < length]
                found = bias + sum(weight[:, j - left] @ x[row, t + j] for j in inside)
                torch.testing.assert_close(y[row, t, at], found.relu())
        assert (y[row, length:] == 0).all()


def test_padding_is_not_read():
    torch.manual_seed(0)
    filters, x = Filters(5, (2, 3), 4).double(), padded(float("nan")).requires_grad_()
    y = filters(x, LENGTHS)
    torch.testing.assert_close(y, filters(padded(0.0), LENGTHS))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in filters.parameters())
    assert filters(torch.zeros(2, 0, 5, dtype=torch.float64), LENGTHS[2:]).shape == (2, 0, 8)


def test_an_encoder_reads_by_them_and_by_them_alone():
    torch.manual_seed(0)
    sentences = [["one", "two", "three"], ["four"]]
    vocabulary = Vocabulary.of(sentences)
    words = WordConfig(dim=4, grams=0, characters=None, shape=False, minimum=1)
    config = EncoderConfig(words=words, hidden=3, filters=[1, 3], filter_features=5, dropout=0.0)
    encoder = SentenceEncoder(config, vocabulary).eval()
    assert encoder.filters is not None
    assert (encoder.filters.out, encoder.layers[0].dim) == (10, 10)
    batch = vocabulary.spell(sentences, buckets=0).batch([0, 1])
    torch.testing.assert_close(
        encoder(batch),
        encoder.read(encoder.filters(encoder.words(batch), batch.lengths), batch.lengths),
    )


def test_what_is_read_from_the_left_alone_has_none():
    config = EncoderConfig(both_ways=False, filters=[3])
    with pytest.raises(ValueError, match="filters see words after one"):
        SentenceEncoder(config, Vocabulary.of([["one"]]))
