"""A system given by its matrices, read as mixers are."""

import torch

from statewise.analysis.linear_system import LinearSystem
from statewise.analysis.memory import memory_curve

PLACES = 8
SHIFT = LinearSystem(
    torch.eye(PLACES, dtype=torch.float64).roll(1, 0).tril(-1),
    torch.eye(PLACES, dtype=torch.float64)[0],
)


def inputs(time):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, time, 1, dtype=torch.float64, generator=generator)


def test_a_register_that_shifts_remembers_as_many_inputs_as_it_has_places():
    x = inputs(50)
    held, last = SHIFT(x)
    assert torch.equal(held[0, -1], x[0, -PLACES:, 0].flip(0))
    assert torch.equal(last, held[:, -1])
    assert SHIFT.state_size(50) == PLACES
    first, half = SHIFT(x[:, :20])
    second, end = SHIFT(x[:, 20:], half)
    assert torch.equal(torch.cat([first, second], 1), held)
    assert torch.equal(end, last)


def test_its_memory_is_measured():
    curve = memory_curve(SHIFT, inputs(3000), lags=12)[:, 0]
    assert curve[:PLACES].min() > 0.999
    assert curve[PLACES:].max() < 0.05
