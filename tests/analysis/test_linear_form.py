from typing import Any

import pytest
import torch

from statewise import mixers
from statewise.analysis.linear_form import apart_from_form, linear_form, replayed
from statewise.analysis.trajectories import parts, visited
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_linear_recurrence_has_its_own_matrices():
    A, B = torch.randn(5, 5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    form = linear_form(Linear(A, B), x, leaf="h")
    torch.testing.assert_close(form.transitions, A.expand(2, 7, 5, 5))
    torch.testing.assert_close(form.drives, x @ B.T)
    assert not form.start.any()
    whole, some = form.product(), form.product(slice(2, 4))
    torch.testing.assert_close(whole[0], A.matrix_power(7).expand(2, 5, 5))
    torch.testing.assert_close(whole[1], form.states()[:, -1])
    torch.testing.assert_close(some[1], x[:, 2] @ (A @ B).T + x[:, 3] @ B.T)


@pytest.mark.parametrize(
    ("name", "leaf"), [("gla", "S"), ("delta_net", "S"), ("lru", "h"), ("mamba", "h"), ("s5", "h")]
)
def test_what_is_linear_in_its_state_is_its_form(name, leaf):
    mixer: Any = mixers.catalogue()[name].example().double().eval()
    x = torch.randn(2, 9, mixer.dim, dtype=torch.float64)
    form = linear_form(mixer, x, leaf=leaf)
    states = visited(mixer, x, leaf=leaf).flatten(0, 1)
    torch.testing.assert_close(form.states().flatten(0, 1), parts(states))
    torch.testing.assert_close(replayed(mixer, x, leaf=leaf), mixer(x)[0])


def test_a_start_that_is_not_zero_counts():
    mixer = mixers.BlockDiagonal(4).double().eval()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    form = linear_form(mixer, x, leaf="h")
    assert form.start.any()
    torch.testing.assert_close(replayed(mixer, x, leaf="h"), mixer(x)[0])


@pytest.mark.parametrize("name", ["elman", "gru"])
def test_what_is_not_linear_is_another(name):
    mixer: Any = mixers.build(name, 4).double().eval()
    x = 2 * torch.randn(2, 9, 4, dtype=torch.float64)
    form = linear_form(mixer, x, leaf="h")
    found, states = form.states(), visited(mixer, x, leaf="h").flatten(2)
    torch.testing.assert_close(found[:, 0], states[:, 0])  # the first step begins at zero
    assert (found - states)[:, 1:].abs().amax() > 0.1
    assert apart_from_form(mixer, x, leaf="h") > 1e-2
    assert apart_from_form(mixer, x[:, :1], leaf="h") < 1e-12


def test_a_leaf_has_to_exist():
    with pytest.raises(ValueError, match="leaf = 'S' should be one of h"):
        linear_form(mixers.Elman(2), torch.randn(1, 2, 2), leaf="S")
