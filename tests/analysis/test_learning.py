"""Examples that grow when they are learned, a bare model, and a text that is read once."""

import math

import pytest
import torch

from statewise.analysis.learning import (
    Bare,
    Whole,
    by_factors,
    descended,
    evenly,
    learn,
    longest_learned,
    read_once,
)
from statewise.mixers import LION
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.language import Streams
from statewise.tasks.parity import Parity


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(LanguageModelConfig(vocab=7, dim=8, depth=1, mixer="gru"))


def test_what_is_read_in_steps_costs_what_it_costs_at_once(model):
    text = torch.randint(7, (60,))
    in_steps = Streams([text], streams=2, context=5)
    model.eval()
    rows = torch.stack([text.roll(-start) for start in in_steps.starts.tolist()])[:, :31]
    reset = torch.zeros(2, 30, dtype=torch.bool)
    with torch.no_grad():
        logits, _ = model(rows[:, :-1], reset=reset)
    whole = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none"
    )
    # The end of a text tells nothing of its beginning: one target of sixty does not count.
    counts = torch.ones(2, 30, dtype=torch.bool)
    counts[in_steps.starts.tolist().index(30), 29] = False
    steps = [
        float(w[c].mean())
        for w, c in zip(whole.view(2, 6, 5).unbind(1), counts.view(2, 6, 5).unbind(1), strict=True)
    ]
    assert read_once(model, in_steps) == pytest.approx(math.exp(sum(steps) / 6), rel=1e-4)


def test_it_learns_if_it_is_told_to(model):
    streams = Streams([torch.arange(70) % 7], streams=2, context=5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = read_once(model.eval(), streams)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for _ in range(20):
        read_once(model.train(), streams, optimizer)
    assert read_once(model.eval(), streams) < first / 2


def test_more_may_be_lowered_and_steps_are_told():
    torch.manual_seed(0)
    streams = Streams([torch.randint(2, (70,))], streams=2, context=5)
    norms = []
    for weight in (0.0, 10.0):
        bare = Bare("gru", Parity(), dim=8)
        optimizer, told = torch.optim.SGD(bare.parameters(), 0.1), list[float]()
        read_once(
            bare,
            streams,
            optimizer,
            beside=lambda weight=weight, bare=bare: weight * bare.head.weight.square().sum(),
            after=lambda told=told, bare=bare: told.append(bare.head.weight.norm().item()),
        )
        assert len(told) == 7
        norms.append(told[-1])
    assert norms[1] < norms[0] / 2


def test_lengths_grow_evenly_or_by_factors():
    assert [evenly(p, 4, 64) for p in (0.0, 0.25, 0.5, 1.0)] == [4, 34, 64, 64]
    found = [by_factors(p, 4, 64) for p in (0.0, 0.375, 0.75, 1.0)]
    assert found == pytest.approx([4, 16, 64, 64])
    bare, lengths = Bare("gru", Parity(), dim=8), list[int]()
    bare.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    learn(bare, Parity(), steps=4, first=2, length=16, growth=by_factors)
    assert lengths == [2, 4, 8, 16]


def test_a_loss_of_ones_own_is_lowered():
    torch.manual_seed(0)
    bare = Bare("gru", Parity(), dim=8)

    def surely(logits, drawn):
        return -logits[..., 1].sigmoid().log().mean()

    learn(bare, Parity(), steps=60, length=6, loss=surely, learning_rate=0.05)
    assert (bare(torch.zeros(3, 5, dtype=torch.long))[0][..., 1] > 1).all()


def test_examples_grow_when_they_are_learned(model):
    class Solver(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.seen = torch.nn.Parameter(torch.ones(())), []

        def forward(self, tokens):
            self.seen.append(tokens.shape[1])
            parity = tokens.cumsum(1) % 2
            return self.scale * torch.nn.functional.one_hot(parity, Parity().vocab).float(), None

    solver = Solver()
    # 1 - 0.9 ** 29 is the first running share of 0.95 or more, with all right.
    assert longest_learned(solver, Parity(), steps=29 * 3 + 28) == 4
    assert solver.seen == [2] * 29 + [3] * 29 + [4] * 29 + [5] * 28
    assert longest_learned(model, Parity(), steps=3) == 1


def test_branches_may_read_the_whole_sequence():
    torch.manual_seed(0)
    tokens = torch.tensor([[0, 1, 1, 0], [0, 1, 1, 1]])
    for branch, reads_on in (("gru", False), ("lion", True), (lambda dim: LION(dim), True)):
        with torch.no_grad():
            logits, state = Whole([branch, "feed_forward"], Parity(), dim=8)(tokens)
        assert state is None
        assert logits.shape == (2, 4, Parity().vocab)
        assert torch.equal(*logits[:, :3]) is not reads_on


def test_passes_of_plain_descent_are_read_one_by_one():
    torch.manual_seed(0)
    bare, streams = (
        Bare("elman", Parity(), dim=8),
        Streams([torch.arange(40) % 2], streams=2, context=5),
    )
    with pytest.raises(ValueError, match="lion reads the whole sequence"):
        Bare("lion", Parity(), dim=8)
    assert [name for name, _ in bare.named_children()] == ["embedding", "mixer", "head"]
    readings = descended(bare, streams, streams, passes=6, rate=1.0)
    assert len(readings) == 6
    assert readings[-1] == read_once(bare, streams)
    assert 1 < readings[-1] < readings[0]
