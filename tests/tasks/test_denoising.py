"""The baseline of a denoising autoencoder and a network."""

import sys

import pytest
import torch

from statewise.tasks.denoising import denoised_classes


def test_it_tells_what_no_line_divides():
    pytest.importorskip("sklearn", reason="statewise[tasks] is not installed")
    draw = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (900, 2), generator=draw) * 2 - 1
    x = signs.repeat_interleave(4, 1) + 0.3 * torch.randn(900, 8, generator=draw)
    classes = ["same" if a == b else "other" for a, b in signs.tolist()]
    found = denoised_classes(x[:600], classes[:600], x[600:], epochs=50)
    right = sum(a == b for a, b in zip(found, classes[600:], strict=True)) / 300
    assert right > 0.95
    some = x[:300], classes[:300], x[300:350]
    assert denoised_classes(*some, epochs=2, seed=3) == denoised_classes(*some, epochs=2, seed=3)


def test_without_scikit_learn_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match=r"statewise\[tasks\]"):
        denoised_classes(torch.zeros(2, 1), ["a", "b"], torch.zeros(1, 1))
