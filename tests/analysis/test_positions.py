import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from statewise.analysis.positions import _grouped, loss_by_position, plot_positions
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from tests.analysis.recurrences import Answers


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_who_knows_nothing_pays_the_same_everywhere():
    model = Answers(lambda tokens: tokens, 8, sure=0.0)
    tokens = torch.randint(8, (3, 10))
    nats = loss_by_position(model, tokens)
    torch.testing.assert_close(nats, torch.full((9,), math.log(8)).double())
    torch.testing.assert_close(
        loss_by_position(model, tokens, unit="bits"), torch.full((9,), 3.0).double()
    )


def test_who_repeats_the_period_before_pays_for_the_first_alone():
    """A text of period 4, and a model that answers with what stood three tokens before."""
    tokens = torch.arange(4).repeat(5).expand(2, 20)
    nats = loss_by_position(Answers(lambda t: t.roll(3, 1), 4), tokens)
    # After t tokens the next is tokens[t]; three before the last read is tokens[t - 4], if t >= 4.
    assert nats[3:].max() < 1e-9
    model = Answers(lambda t: torch.where(torch.arange(20) < 3, t, t.roll(3, 1)), 4)
    assert loss_by_position(model, tokens)[:3].tolist() == pytest.approx([50, 50, 50])


def test_the_mean_is_the_loss_of_the_model_in_eval_mode():
    model = LanguageModel(LanguageModelConfig(vocab=11, dim=8, depth=1)).eval()
    tokens = torch.randint(11, (4, 30))
    logits, _ = model(tokens)
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss_by_position(model, tokens).mean().float(), expected)


def test_groups_of_positions_keep_the_sum():
    cost = torch.rand(777).double().numpy()
    middles, means = _grouped(cost)
    assert middles[0] == 1
    assert (middles[1:] > middles[:-1]).all()
    edges = [0.5]
    for middle in middles:
        edges.append(2 * middle - edges[-1])
    assert edges[-1] == 777.5
    widths = [b - a for a, b in pairwise(edges)]
    assert (means * widths).sum() == pytest.approx(cost.sum())


def test_what_has_no_cost_is_refused():
    model = Answers(lambda tokens: tokens, 8)
    with pytest.raises(ValueError, match="at least two tokens"):
        loss_by_position(model, torch.zeros(3, 1).long())


@pytest.mark.parametrize("length", [1, 2, 3000])
def test_the_plot_is_a_picture(length):
    curves = {"a": torch.rand(length), "b": torch.rand(length)}
    assert plot_positions(curves, trained=8).startswith(b"\x89PNG")
