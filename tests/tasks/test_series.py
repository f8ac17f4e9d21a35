"""Streams of events and series, against what is known of them."""

import pytest
import torch

from statewise.tasks.hawkes import Hawkes
from statewise.tasks.seasons import Seasons

BASE = torch.tensor([0.3, 0.1, 0.2])
CHAIN = torch.tensor([[0.0, 0.6, 0.0], [0.0, 0.0, 0.5], [0.3, 0.0, 0.2]])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_events_without_influence_are_those_of_poisson():
    gaps, kinds = Hawkes(BASE, torch.zeros(3, 3)).draw(500, 40, seeded())
    rate = BASE.sum()
    assert gaps.mean().item() == pytest.approx(1 / rate.item(), rel=0.03)
    assert (gaps > 1).double().mean().item() == pytest.approx(torch.exp(-rate).item(), abs=0.01)
    assert kinds.flatten().bincount() / kinds.numel() == pytest.approx(BASE / rate, abs=0.01)


def test_influence_multiplies_the_rates():
    gaps, kinds = Hawkes(BASE, CHAIN).draw(200, 1000, seeded())
    # In the long run rate = base + influence^T rate.
    rates = torch.linalg.solve(torch.eye(3) - CHAIN.T, BASE)
    seen = kinds[:, 200:].flatten().bincount() / gaps[:, 200:].sum()
    assert seen == pytest.approx(rates, rel=0.04)


def test_a_kind_brings_on_the_next():
    _, kinds = Hawkes(BASE, CHAIN).draw(500, 40, seeded())
    after = kinds[:, 1:][kinds[:, :-1] == 0]
    share = (after == 1).double().mean()
    assert share > 1.5 * (kinds == 1).double().mean()


def test_a_season_repeats_and_has_a_variance_of_one():
    series = Seasons(7, noise=0.0).draw(4000, 21, seeded())
    torch.testing.assert_close(series[:, 7:], series[:, :-7], atol=1e-4, rtol=0)
    assert series.var().item() == pytest.approx(1, rel=0.05)


def test_noise_lingers():
    both = (Seasons(7, noise=noise, lingers=0.8).draw(4000, 21, seeded()) for noise in (0.5, 0.0))
    noise = next(both) - next(both)
    assert noise.std(0).tolist() == pytest.approx([0.5] * 21, rel=0.06)
    kept = (noise[:, 3:] * noise[:, :-3]).mean() / noise.var()
    assert kept.item() == pytest.approx(0.8**3, abs=0.03)


@pytest.mark.parametrize("task", [Hawkes(BASE, CHAIN), Seasons()])
def test_the_generator_alone_decides(task):
    before = torch.random.get_rng_state()
    first, again, other = (torch.as_tensor(part(task, seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def part(task, seed):
    drawn = task.draw(5, 20, seeded(seed))
    return drawn if isinstance(drawn, torch.Tensor) else drawn.gaps


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="above 0"):
        Hawkes(torch.zeros(3), CHAIN)
    with pytest.raises(ValueError, match="below 1"):
        Hawkes(BASE, 2 * CHAIN)
    with pytest.raises(ValueError, match="period is 1"):
        Seasons(1)
