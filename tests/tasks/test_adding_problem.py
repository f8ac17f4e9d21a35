"""The adding problem: two marks, one in each half, and the sum of what they mark."""

import pytest
import torch

from statewise.tasks.adding_problem import AddingProblem

TASK = AddingProblem()


def drawn(length=40, seed=0, batch=500):
    return TASK.draw(batch, length, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [2, 3, 40, 101])
def test_the_solver_is_right(length):
    x, target = drawn(length)
    exact = torch.tensor([TASK.solve([tuple(pair) for pair in row]) for row in x.tolist()])
    torch.testing.assert_close(exact, target)


def test_one_mark_in_each_half():
    marks = drawn(41).x[..., 1]
    assert torch.equal(marks[:, :20].sum(1), torch.ones(500))
    assert torch.equal(marks[:, 20:].sum(1), torch.ones(500))
    assert marks.any(0).all()


def test_the_baseline_is_what_always_one_costs():
    target = drawn(batch=200_000, length=2).target
    assert abs(float((target - 1).square().mean()) - TASK.baseline) < 2e-3


def test_the_generator_alone_decides():
    assert torch.equal(drawn(seed=1).x, drawn(seed=1).x)
    assert not torch.equal(drawn(seed=1).x, drawn(seed=2).x)


def test_too_short():
    with pytest.raises(ValueError, match="length = 1 should be at least 2"):
        drawn(1)
