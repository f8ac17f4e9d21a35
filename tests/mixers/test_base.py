from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from statewise import testing
from statewise.mixers.base import Cell, state_dtype, where_rows, within
from statewise.ops import programs


class LeakyState(NamedTuple):
    h: Tensor
    decay: Tensor


class Leaky(Cell[LeakyState]):
    """A leaky integrator that answers with its state, and carries a leaf it never changes."""

    def __init__(self, dim=3):
        super().__init__()
        self.dim = self.out = dim
        self.enter = nn.Linear(dim, dim)
        self.start = nn.Parameter(torch.rand(dim))

    def initial_state(self, batch, *, device=None, dtype=None):
        start = self.start.to(device, state_dtype(dtype or self.start.dtype)).repeat(batch, 1)
        return LeakyState(start, torch.full_like(start, 0.5))

    def cell(self, x, state):
        h = state.decay * state.h + self.enter(x).tanh().to(state.h.dtype)
        return h.to(x.dtype), LeakyState(h, state.decay)

    def state_size(self, time):
        return 2 * self.dim

    @classmethod
    def example(cls):
        return cls()


@pytest.mark.parametrize("dtype", testing.DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("law", testing.LAWS, ids=lambda law: law.__name__)
def test_a_cell_needs_one_step_to_fulfil_every_law(law, dtype):
    testing.hold(law, Leaky, dtype, times=(0, 1, 2, 3, 9))


def test_a_cell_is_its_loop():
    cell = Leaky()
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    h = cell.start.expand(2, 3)
    for t in range(4):
        h = 0.5 * h + cell.enter(x[:, t]).tanh()
    y, state = cell(x)
    torch.testing.assert_close(y[:, -1], h)
    torch.testing.assert_close(state.h, h)


def test_a_constant_made_in_a_cell_is_read_and_a_stopped_gradient_is_not():
    cell, x = Leaky(), torch.zeros(2, 3)
    leaves = list(cell.initial_state(2))

    class Padded(Leaky):
        def cell(self, x, state):
            y, state = super().cell(x, state)
            return y + torch.zeros_like(state.h), state._replace(h=state.h + torch.ones_like(y))

    class Stopped(Leaky):
        def cell(self, x, state):
            return super().cell(x, state._replace(h=state.h.detach()))

    assert isinstance(cell.reading(x, leaves), programs.Reading)
    padded = Padded()
    assert isinstance(padded.reading(x, leaves), programs.Reading)
    torch.testing.assert_close(padded(x[:, None])[1], padded.step(x, padded.initial_state(2))[1])
    assert "stops the gradient" in str(Stopped().reading(x, leaves))


def test_a_state_is_float32_or_wider():
    assert state_dtype(torch.bfloat16) == state_dtype(torch.float16) == torch.float32
    assert state_dtype(torch.float32) == state_dtype(None) == torch.float32
    assert state_dtype(torch.float64) == torch.float64


def test_within():
    found = within(torch.tensor([0, 2, 3]), 3)
    assert found.tolist() == [[False] * 3, [True, True, False], [True] * 3]
    assert within(torch.tensor([0, 0]), 0).shape == (2, 0)


def test_where_rows_picks_rows_of_every_leaf():
    yes, no = (torch.ones(2, 3), (torch.ones(2),)), (torch.zeros(2, 3), (torch.zeros(2),))
    a, (b,) = where_rows(torch.tensor([True, False]), yes, no)
    assert a.tolist() == [[1] * 3, [0] * 3]
    assert b.tolist() == [1, 0]


def test_shapes_are_checked():
    with pytest.raises(Exception, match="within"):
        within(torch.zeros(2, 2, dtype=torch.int64), 3)
