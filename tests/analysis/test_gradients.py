"""How far gradients reach, beside matrices whose powers are known."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from statewise import backends, mixers
from statewise.analysis.gradients import gradient_by_lag, plot_gradients


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


class Turning(mixers.Cell[Pair]):
    """a = W a + x; b = a + b, read by nothing: the derivative of a along a is a power of W."""

    remembers = Pair

    def __init__(self):
        super().__init__()
        self.dim = self.out = 3
        self.matrix = nn.Parameter(0.5 * torch.randn(3, 3, dtype=torch.float64))

    def shapes(self):
        return {"a": (3,), "b": (3,)}

    def cell(self, x, state):
        a = state.a @ self.matrix.t() + x
        return a, Pair(a, a + state.b)

    @classmethod
    def example(cls):
        return cls()


def test_a_linear_recurrence_gives_the_powers_of_its_matrix():
    torch.manual_seed(0)
    mixer = Turning()
    x = torch.randn(6, 3, dtype=torch.float64)
    found = gradient_by_lag(mixer, x, leaf="a")
    power = [
        torch.linalg.matrix_norm(torch.linalg.matrix_power(mixer.matrix, k), 2) for k in range(7)
    ]
    torch.testing.assert_close(found, torch.stack(power).detach())
    # What b holds stays; that it was made from a within a step is another derivative.
    ones = torch.ones(7, dtype=torch.float64)
    torch.testing.assert_close(gradient_by_lag(mixer, x, leaf="b"), ones)


@pytest.mark.parametrize("form", ["native", "reference"])
def test_backends_agree(form):
    torch.manual_seed(0)
    mixer, x = mixers.LSTM(4).double(), torch.randn(9, 4, dtype=torch.float64)
    with backends.use(form):
        found = gradient_by_lag(mixer, x, leaf="c")
    start = mixer.initial_state(1)
    assert found[0] == 1
    assert found.shape == (10,)

    def last(c0):
        state = start._replace(c=c0.view_as(start.c))
        return mixer(x[None], state)[1].c.flatten()

    whole = torch.autograd.functional.jacobian(last, start.c.flatten())
    torch.testing.assert_close(found[9], torch.linalg.matrix_norm(whole, 2))


def test_a_leaf_that_is_not_there():
    with pytest.raises(ValueError, match="leaf = 'm' should be one of h, c"):
        gradient_by_lag(mixers.LSTM(4), torch.zeros(2, 4), leaf="m")


def test_the_plot_is_a_picture_where_gradients_vanish_too():
    named = {"a": torch.tensor([1.0, 0.1, 0.0, 0.0]), "b": torch.tensor([1.0, 30.0, float("inf")])}
    assert plot_gradients(named).startswith(b"\x89PNG")
