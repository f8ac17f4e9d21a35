"""The norm by the core beside torch's, and when torch does it."""

import pytest
import torch
from torch.nn.functional import rms_norm as by_torch

from statewise import backends
from statewise.mixers.parts.norms import RMSNorm
from statewise.ops.rms_norm import rms_norm
from tests.ops.agreement import LEVELS, error, needs_core


@needs_core
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5, 70), (16,), (0, 7), (700, 64)], ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_agrees_with_float64(core, level, shape, weighted):
    core.set_level(level)
    torch.manual_seed(0)
    x, weight = torch.randn(shape), torch.randn(shape[-1]) if weighted else None
    found = rms_norm(x, weight, 1e-3)
    wide = None if weight is None else weight.double()
    assert found.dtype == torch.float32
    assert error(found.double(), by_torch(x.double(), shape[-1:], wide, 1e-3)) < 1e-6


@needs_core
def test_a_layout_of_any_kind_is_read():
    x = torch.randn(6, 5, 4).transpose(0, 2)
    found = rms_norm(x, None, 1e-5)
    torch.testing.assert_close(found, by_torch(x, x.shape[-1:], None, 1e-5))


@needs_core
def test_torch_does_what_the_core_does_not(monkeypatch):
    called = []
    monkeypatch.setattr(backends, "run", lambda *given: called.append(given))
    x, weight = torch.randn(2, 3), torch.ones(3)
    found = [rms_norm(x.double(), weight.double(), 1e-5)]
    with backends.use("torch"):
        found.append(rms_norm(x, weight, 1e-5))
    found.append(rms_norm(x, weight.requires_grad_(), 1e-5))
    for y in found:
        torch.testing.assert_close(y.float(), by_torch(x, (3,), None, 1e-5))
    assert len(called) == 0


def test_the_module_answers_and_learns_as_torch_does():
    x, ours, theirs = torch.randn(4, 6), RMSNorm(6), torch.nn.RMSNorm(6)
    for norm in (ours, theirs):
        norm(x).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.double()(x.double()), theirs.double()(x.double()))
