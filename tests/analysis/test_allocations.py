"""Memory that is held at once, against sums done by hand."""

import pytest
import torch

from statewise import mixers
from statewise.analysis.allocations import peak_bytes
from statewise.analysis.throughput import exponent

X = torch.ones(1000)
"""4,000 bytes, made before the call."""


def chain():
    y = X + 1
    for _ in range(5):
        y = y + 1  # one is made while the one before is held


def kept():
    return [X + n for n in range(5)]


def views():
    y = X + 1
    return [y.view(10, 100), y[::2], X.view(10, 100), y.add_(1)]


@pytest.mark.parametrize(("call", "tensors"), [(chain, 2), (kept, 5), (views, 1)])
def test_sums_by_hand(call, tensors):
    assert peak_bytes(call) == 4000 * tensors


def test_nothing_made():
    assert peak_bytes(lambda: X.view(10, 100)) == 0


def test_all_pairs_are_quadratic_and_a_recurrence_is_linear():
    lengths = [64, 128, 256]
    lstm = mixers.build("lstm", 8)
    pairs, recurrent = [], []
    for length in lengths:
        x = torch.randn(1, length, 8)
        pairs.append(peak_bytes(lambda x=x: x @ x.mT))
        recurrent.append(peak_bytes(lambda x=x: lstm(x)))
    assert exponent(lengths, pairs) == pytest.approx(2)
    assert exponent(lengths, recurrent) == pytest.approx(1, abs=0.05)
