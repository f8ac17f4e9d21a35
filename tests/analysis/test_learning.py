"""A bare model, and texts that are read once, with states that are carried."""

import math

import pytest
import torch

from statewise.analysis.learning import Bare, descended, read_once
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
