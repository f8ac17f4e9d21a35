import math
import time

import pytest
import torch
from torch import nn

from statewise import mixers
from statewise.analysis.throughput import (
    Cost,
    affordable,
    costs,
    exponent,
    median_seconds,
    plot_costs,
    power_law,
    times_faster,
    training_seconds,
)
from statewise.models.language_model import LanguageModel, LanguageModelConfig


class Clock:
    """A clock that goes on only as what is measured says."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


class Slow(nn.Module):
    """Takes `forward(length)` seconds for a sequence and `step(read)` for a step after as many."""

    def __init__(self, clock, forward, step):
        super().__init__()
        self.clock, self.takes, self.steps = clock, forward, step
        self.weight = nn.Parameter(torch.ones(()))

    def initial_state(self, batch):
        return 0

    def state_size(self, time):
        return 1

    def forward(self, x, state=0):
        self.clock.now += self.takes(x.shape[1])
        return self.weight * x, state + x.shape[1]

    def step(self, x, state):
        self.clock.now += self.steps(state)
        return self.weight * x, state + 1


def test_a_model_of_half_the_speed_affords_half_the_inputs(monkeypatch):
    clock = Clock(monkeypatch)
    found = []
    for takes in (0.01, 0.02):
        model = Slow(clock, lambda n, takes=takes: takes * n, lambda n: 0.0)
        found.append(affordable(model, torch.randn(4, 50, 2), 60.0))
    # 200 inputs in half a second, and in a second
    assert found == [pytest.approx(24000, abs=1), pytest.approx(12000, abs=1)]


def test_what_a_length_takes_is_what_the_clock_says(monkeypatch):
    model = Slow(Clock(monkeypatch), lambda n: 0.003 * n**2, lambda n: 0.5 * n)
    found = costs(model, torch.randn(4, 65, 2), [8, 16, 32, 64])
    for cost in found:
        assert cost.forward == pytest.approx(0.003 * cost.length**2)
        assert cost.training == pytest.approx(0.003 * cost.length**2)
        assert cost.step == pytest.approx(0.5 * cost.length)
        assert cost.forward_tokens_per_second == pytest.approx(4 / (0.003 * cost.length))
        assert cost.training_tokens_per_second == pytest.approx(4 / (0.003 * cost.length))
    lengths = [cost.length for cost in found]
    assert exponent(lengths, [cost.forward for cost in found]) == pytest.approx(2)
    assert exponent(lengths, [cost.step for cost in found]) == pytest.approx(1)


def test_the_median_leaves_the_first_call_and_the_slowest_out(monkeypatch):
    clock = Clock(monkeypatch)
    takes = iter([100.0, 1.0, 9.0, 2.0, 3.0, 2.0])

    def call():
        clock.now += next(takes)

    assert median_seconds(call, least=5, seconds=0) == 2.0


def test_calls_end_with_the_seconds(monkeypatch):
    clock, calls = Clock(monkeypatch), []

    def call():
        calls.append(1)
        clock.now += 0.1

    median_seconds(call, least=2, seconds=0.95)
    assert len(calls) == 1 + 10
    median_seconds(call, least=2, seconds=1e9, most=7)
    assert len(calls) == 11 + 1 + 7


def test_the_exponent_is_the_slope_of_the_logarithms():
    lengths = [10, 20, 50, 300]
    assert exponent(lengths, [7 * n**1.5 for n in lengths]) == pytest.approx(1.5)
    assert exponent(lengths, [3, 3, 3, 3]) == pytest.approx(0)
    # By hand: logarithms (0, 1, 2) against (0, 2, 2) have the slope 1.
    assert exponent([1, 2, 4], [1, 4, 4]) == pytest.approx(1)


def test_two_power_laws_meet_where_they_are_as_large():
    x = [1, 3, 8]
    steep, flat = power_law(x, [5 * n**2 for n in x]), power_law(x, [20 * n**0.5 for n in x])
    assert steep == pytest.approx((2, math.log(5)))
    assert steep.meets(flat) == pytest.approx(math.log(4) / 1.5) == flat.meets(steep)


def test_a_mixer_and_a_model_are_measured():
    for model, x in (
        (mixers.GRU(4), torch.randn(2, 9, 4)),
        (
            LanguageModel(LanguageModelConfig(vocab=5, dim=4, depth=1)),
            torch.randint(5, (2, 9)),
        ),
        (mixers.EchoState(4), torch.randn(2, 9, 4)),  # no weights: inputs alone have gradients
    ):
        [first, second] = costs(model, x, [3, 8], least=1, seconds=0)
        assert (first.length, second.length, first.rows) == (3, 8, 2)
        assert min(*first[2:], *second[2:]) > 0


def test_what_cannot_be_measured_is_refused():
    x = torch.randn(2, 9, 4)
    with pytest.raises(ValueError, match=r"lengths = \[9\] should be in \[1, 8\]"):
        costs(mixers.GRU(4), x, [9])
    with pytest.raises(ValueError, match="two or more different ones"):
        exponent([3, 3], [1, 2])
    with pytest.raises(ValueError, match="should be above 0"):
        exponent([3, 4], [1, 0])
    with pytest.raises(ValueError, match="kind = 'backward' should be one of forward, training"):
        plot_costs({}, kind="backward")


def test_the_plot_is_a_picture():
    found = [Cost(n, 2, 0.1 * n, 0.2 * n, 0.3) for n in (4, 8)]
    for kind in ("forward", "training", "step"):
        assert plot_costs({"a": found, "b": found}, kind=kind).startswith(b"\x89PNG")


def test_training_is_a_call_and_the_gradients_by_all_that_can_have_one(monkeypatch):
    clock = Clock(monkeypatch)
    weight, asked = nn.Parameter(torch.ones(())), []

    def call(x):
        clock.now += 3.0
        asked.append(x.requires_grad)
        return weight * x

    assert training_seconds(call, torch.ones(1, 1, 2), [weight], least=2, seconds=0) == 3.0
    assert all(asked)
    tokens = torch.ones(1, 2, dtype=torch.long)
    assert training_seconds(call, tokens, [weight], least=2, seconds=0) == 3.0
    assert math.isnan(training_seconds(call, tokens, [], least=2, seconds=0))


def test_what_else_the_machine_does_is_left_out_of_how_much_faster_one_is():
    ours, theirs = iter([1.0, 7.0, 2.0]), iter([9.0, 4.0, 30.0])
    assert times_faster(lambda: next(ours), lambda: next(theirs)) == 4.0
