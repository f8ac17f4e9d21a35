import itertools

import pytest
import torch

from statewise import mixers
from statewise.training import truncation
from statewise.training.language import train_language_model
from tests.training.test_loop import apart, configuration, direct_gradient, first_gradient


def test_lengths_have_their_mean_and_deviation(tmp_path):
    shape = {"context": 200, "context_deviation": 8.0}
    config = configuration(tmp_path, **shape)
    found = torch.tensor([truncation.length(config, step) for step in range(2000)]).double()
    assert found.mean().item() == pytest.approx(200, abs=1)
    assert found.std().item() == pytest.approx(8, rel=0.1)
    halved = config.model_copy(update={"context_halved": 0.25})
    found = torch.tensor([truncation.length(halved, step) for step in range(2000)])
    assert (found < 150).double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert found[found < 150].double().mean().item() == pytest.approx(100, abs=2)
    assert truncation.length(configuration(tmp_path), 7) == 32


def test_lengths_stay_between_one_and_twice_the_context(tmp_path):
    config = configuration(tmp_path, context=4, context_deviation=100.0)
    found = {truncation.length(config, step) for step in range(200)}
    assert min(found) == 1
    assert max(found) == 8


def test_the_rate_follows_the_length_and_no_token_is_left_out(tmp_path, monkeypatch):
    from statewise.tasks.language import Streams

    read = []

    def note(self, before, length, *rows, whole=Streams.read):
        read.append((before, length))
        return whole(self, before, length, *rows)

    monkeypatch.setattr(Streams, "read", note)
    options = {"schedule": "constant", "warm_up": 0, "learning_rate": 1e-3, "method": "sgd"}
    config = configuration(
        tmp_path, max_steps=6, context_deviation=6.0, log_steps=1, optimizer=options
    )
    trained = train_language_model(config)
    ends = [before + length for before, length in read]
    assert [before for before, _ in read] == [0, *ends[:-1]]
    assert trained.outcome.tokens == 2 * ends[-1]
    import json

    lines = map(json.loads, (trained.folder / "metrics.jsonl").read_text().splitlines())
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates == pytest.approx([1e-3 * length / 32 for _, length in read])
    assert len(set(rates)) > 2


def test_random_cuts_are_right_in_the_mean():
    """All patterns of cuts, each as likely as it is: their mean is the gradient without a cut."""
    torch.manual_seed(0)
    mixer, x = mixers.GRU(3, 4).double(), torch.randn(2, 12, 3, dtype=torch.float64)
    chance, pieces = 0.3, x.split(3, 1)

    def gradient(cuts, factor):
        state, cost = None, torch.zeros((), dtype=torch.float64)
        for piece, cut in zip(pieces, cuts, strict=True):
            y, state = mixer(piece, state)
            cost = cost + y.square().sum()
            state = truncation.amplified(state, 0.0 if cut else factor)
        mixer.zero_grad()
        cost.backward()
        return torch.cat([p.grad.flatten() for p in mixer.parameters()])

    whole, mean = gradient([False] * 4, 1.0), 0
    for pattern in itertools.product([True, False], repeat=3):
        likely = torch.tensor([chance if cut else 1 - chance for cut in pattern]).prod()
        mean = mean + likely * gradient([*pattern, True], 1 / (1 - chance))
    assert apart(mean, whole) < 1e-6
    assert apart(gradient([True] * 4, 1.0), whole) > 1e-3  # cut always, it is another one


def test_an_amplified_state_has_the_same_numbers():
    leaf = torch.randn(3, 2, requires_grad=True)
    (found,) = truncation.amplified((leaf * 1,), 4.0)
    assert torch.equal(found, leaf)
    found.sum().backward()
    assert torch.equal(leaf.grad, torch.full((3, 2), 4.0))


def test_cuts_have_their_chance_and_the_last_is_one(tmp_path):
    config = configuration(tmp_path, truncation=4, truncation_chance=0.3)
    drawn = [truncation.cuts(config, step, 8) for step in range(1000)]
    assert all(cuts[-1] for cuts in drawn)
    share = sum(sum(cuts[:-1]) for cuts in drawn) / 7000
    assert share == pytest.approx(0.3, abs=0.02)
    usual = configuration(tmp_path, truncation=4)
    assert truncation.cuts(usual, 0, 8) == [True] * 8


def test_the_loop_cuts_where_it_should(tmp_path, monkeypatch):
    shape = {"context": 96, "mixer": "lstm"}
    full = direct_gradient(tmp_path, **shape)
    cut = direct_gradient(tmp_path, truncation=24, **shape)
    chance = {"truncation": 24, "truncation_chance": 1e-9}  # hardly ever, and hardly amplified
    assert apart(first_gradient(tmp_path / "a", **chance, **shape), full) < 1e-5
    monkeypatch.setattr(truncation, "cuts", lambda config, step, pieces: [True] * pieces)
    assert apart(first_gradient(tmp_path / "b", **chance, **shape), cut) < 1e-5


def test_a_chance_without_truncation_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"truncation_chance is 0.5, but without truncation"):
        configuration(tmp_path, truncation_chance=0.5)
