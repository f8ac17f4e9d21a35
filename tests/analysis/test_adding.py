from typing import Any

import pytest
import torch

from statewise.analysis.adding import TASK, Adder, first_below, learn_sums, squared_error


def adder(mixer: Any = "min_gru", dim=8):
    torch.manual_seed(0)
    return Adder(mixer, dim=dim)


def test_what_knows_the_answer_has_no_error():
    exact = torch.nn.Module()
    exact.forward = lambda x: x.prod(-1).sum(-1)
    assert squared_error(exact, length=9, rows=20) == pytest.approx(0, abs=1e-12)
    exact.forward = lambda x: torch.ones(len(x))
    assert squared_error(exact, length=9) == pytest.approx(TASK.baseline, rel=0.1)


def test_training_lowers_the_error_and_tells_it():
    model = adder({"name": "lstm", "hidden": 16})
    before = squared_error(model, length=6)
    losses = learn_sums(model, length=6, steps=60, learning_rate=1e-2)
    assert len(losses) == 60
    assert losses[0] == pytest.approx(before, rel=0.3)
    assert squared_error(model, length=6) < before / 4


def test_the_same_seed_learns_the_same():
    first, again, other = (
        learn_sums(adder(), length=6, steps=3, seed=seed) for seed in (100, 100, 101)
    )
    assert first == again != other


def test_the_first_window_below_a_bound():
    losses = [9.0, 1.0, 5.0, 1.0, 2.0, 1.0]
    assert first_below(losses, 2.0, window=1) == 1
    assert first_below(losses, 2.0, window=2) == 3
    assert first_below(losses, 2.0, window=3) == 3
    assert first_below(losses, 1.0, window=2) == 6
    assert first_below(losses, 4.0) == 0


def test_what_reads_the_whole_sequence_is_refused():
    with pytest.raises(ValueError, match="whole sequence"):
        adder({"name": "bidirectional", "mixer": "gru"})
