"""Mamba's step in one call of the core beside its parts, and when it is computed by these."""

import pytest
import torch
from torch import nn

from statewise import backends
from statewise.mixers.mamba import Mamba
from statewise.models.quantized import quantize
from statewise.ops import mamba_step as module
from tests.ops.agreement import LEVELS, error, needs_core

pytestmark = needs_core


def made(dim=21, **options):
    torch.manual_seed(0)
    return Mamba(dim, **options).eval()


def stepped(mixer, xs, state):
    """Return every answer, and the state after the last."""
    answers = []
    with torch.no_grad():
        for x in xs:
            y, state = mixer.step(x, state)
            answers.append(y)
    return torch.stack(answers), state


@pytest.fixture
def calls(monkeypatch):
    """Whether each step since was one call."""
    found, whole = [], module.mamba_step

    def watched(*given):
        answer = whole(*given)
        found.append(answer is not None)
        return answer

    monkeypatch.setattr("statewise.mixers.mamba.mamba_step", watched)
    return found


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("epsilon", [None, 1e-3])
@pytest.mark.parametrize("batch", [0, 1, 3, 8])
def test_agrees_with_its_parts_in_float64(core, level, epsilon, batch, calls):
    core.set_level(level)
    mixer = made(epsilon=epsilon)
    xs = torch.randn(6, batch, 21)
    found, state = stepped(mixer, xs, mixer.initial_state(batch))
    assert calls == [True] * 6
    mixer.double()
    with backends.use("reference"):
        start = mixer.initial_state(batch, dtype=torch.float64)
        wanted, after = stepped(mixer, xs.double(), start)
    for ours, theirs in zip((found, *state), (wanted, *after), strict=True):
        assert ours.dtype == torch.float32
        assert error(ours.double(), theirs) < 2e-6


@pytest.mark.parametrize("options", [{"state": 3, "width": 1, "rank": 5}, {"expansion": 1.5}])
def test_agrees_at_other_sizes(options, calls):
    mixer = made(dim=6, **options)
    xs = torch.randn(4, 2, 6)
    found, state = stepped(mixer, xs, mixer.initial_state(2))
    with backends.use("torch"):
        wanted, after = stepped(mixer, xs, mixer.initial_state(2))
    assert calls == [True] * 4 + [False] * 4
    for ours, theirs in zip((found, *state), (wanted, *after), strict=True):
        assert error(ours, theirs) < 2e-6


def test_agrees_with_matrices_of_eight_bits(calls):
    mixer = made(dim=64)
    quantize(mixer)
    xs = torch.randn(6, 3, 64)
    found, _ = stepped(mixer, xs, mixer.initial_state(3))
    with backends.use("torch"):
        wanted, _ = stepped(mixer, xs, mixer.initial_state(3))
    assert calls == [True] * 6 + [False] * 6
    assert error(found, wanted) < 2e-4  # what enters a product has sixteen bits


def test_what_was_given_stays_as_it_was():
    mixer = made()
    state = mixer.initial_state(2)
    with torch.no_grad():
        _, state = mixer.step(torch.randn(2, 21), state)
        before = [leaf.clone() for leaf in state]
        _, after = mixer.step(torch.randn(2, 21), state)
    assert all(map(torch.equal, state, before))
    assert not any(map(torch.equal, after, before))


def test_a_row_is_the_same_beside_any_others_and_at_any_number_of_threads():
    mixer, xs = made(dim=64), torch.randn(5, 8, 64)
    whole, _ = stepped(mixer, xs, mixer.initial_state(8))
    for row in (0, 7):
        alone, _ = stepped(mixer, xs[:, row : row + 1], mixer.initial_state(1))
        assert torch.equal(alone[:, 0], whole[:, row])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(stepped(mixer, xs, mixer.initial_state(8))[0], whole)
    finally:
        torch.set_num_threads(before)


def test_more_rows_than_the_kernel_takes_go_by_parts(calls):
    mixer = made()
    stepped(mixer, torch.randn(1, 9, 21), mixer.initial_state(9))
    assert calls == [False]


def test_gradients_go_by_parts(calls):
    mixer = made()
    y, _ = mixer.step(torch.randn(2, 21), mixer.initial_state(2))
    y.sum().backward()
    assert calls == [False]
    assert all(parameter.grad is not None for parameter in mixer.parameters())


def test_float64_and_other_layouts_go_by_parts(calls):
    mixer = made().double()
    stepped(mixer, torch.randn(1, 2, 21).double(), mixer.initial_state(2, dtype=torch.float64))
    mixer.float()
    xs = torch.randn(1, 21, 2).mT
    found, _ = stepped(mixer, xs, mixer.initial_state(2))
    assert calls == [False, False]
    assert error(found, stepped(mixer, xs.contiguous(), mixer.initial_state(2))[0]) < 2e-6


def test_a_part_that_was_replaced_or_is_watched_is_called(calls):
    seen = []
    for name in ("input", "output", "selective.select"):
        mixer = made()
        part = mixer.get_submodule(name)
        hook = part.register_forward_hook(lambda *given, name=name: seen.append(name))
        stepped(mixer, torch.randn(1, 2, 21), mixer.initial_state(2))
        hook.remove()
    assert seen == ["input", "output", "selective.select"]
    mixer = made()
    mixer.output = nn.Sequential(mixer.output, nn.Tanh())
    found, _ = stepped(mixer, 100 * torch.randn(1, 2, 21), mixer.initial_state(2))
    assert found.abs().max() <= 1
    mixer = made()
    mixer.input.bias = nn.Parameter(torch.ones(len(mixer.input.weight)))
    stepped(mixer, torch.randn(1, 2, 21), mixer.initial_state(2))
    assert calls == []


def test_what_does_not_fit_is_said_by_the_parts():
    mixer = made()
    with torch.no_grad(), pytest.raises((ValueError, TypeError), match="linear"):
        mixer.step(torch.randn(2, 20), mixer.initial_state(2))
