import dataclasses
import json

import pytest
import torch

from statewise import analysis, cli
from statewise.analysis import capability


def made(mixer="min_gru", **options):
    return analysis.card(mixer, steps=2, dim=8, quiet=True, **options)


@pytest.fixture(scope="module")
def card():
    return made()


def test_every_field_is_there(card):
    assert (card.family, card.dim, card.depth, card.seed) == ("linear diagonal", 8, 2, 0)
    cost = card.cost
    assert (cost.parameters, cost.state_numbers, cost.state_bytes) == (144, 8, 32)
    assert not cost.state_grows
    assert cost.step_microseconds > 0
    assert cost.training_tokens_per_second > 0
    assert cost.threads == torch.get_num_threads()
    assert set(card.tasks) == set(capability.TASKS)
    for name, result in card.tasks.items():
        assert 0 <= result.accuracy <= 1
        assert 0 <= result.accuracy_longer <= 1
        assert result.chance == 1 / capability.TASKS[name].answers
        assert result.steps == 2
        assert result.skipped == 0
        assert result.theory.source
    allowed = [result.theory.allowed for result in card.tasks.values()]
    assert allowed == [False, False, False, None]


def test_the_same_seed_learns_the_same_and_leaves_the_global_one_alone(card):
    def learned(found):
        return [(r.accuracy, r.accuracy_longer) for r in found.tasks.values()]

    before = torch.random.get_rng_state()
    assert learned(made()) == learned(card)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert learned(made(seed=1)) != learned(card)


def test_a_state_that_grows_is_measured_where_it_is_asked():
    cost = made("attention", depth=1).cost
    assert cost.state_grows
    assert cost.state_numbers >= 2 * 8 * capability.LENGTH * capability.LONGER


def test_what_is_solved_is_called_so(card):
    """An exact solver in the place of a model."""

    class Solver(torch.nn.Module):
        def __init__(self, task):
            super().__init__()
            self.task, self.unused = task, torch.nn.Parameter(torch.ones(()))

        def forward(self, tokens):
            answers = torch.tensor([self.task.solve(row) for row in tokens.tolist()])
            logits = torch.nn.functional.one_hot(answers, self.task.vocab).float()
            return 50 * logits + 0 * self.unused, None

    for task in capability.TASKS.values():
        says = card.tasks["parity"].theory
        found = capability._learn(Solver(task), task, 1.0, 1, 0.1, 0, says, lambda done: None)
        assert (found.accuracy, found.accuracy_longer, found.solved) == (1.0, 1.0, True)


def test_the_print_has_the_figures_and_the_sources(card):
    text = analysis.describe(card)
    for part in ("8 numbers, 32 bytes", "144", "tokens/s", "excluded", "arXiv:2405.17394"):
        assert part in text
    for name in capability.TASKS:
        assert name in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_command_prints_both_ways(capsys):
    cli.main(["card", "{name: gla, heads: 2}", "--steps", "1", "--dim", "8", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["mixer"] == {"name": "gla", "heads": 2}
    assert set(found) == {field.name for field in dataclasses.fields(analysis.Card)}
    assert found["tasks"]["parity"]["theory"]["allowed"] is False
    cli.main(["card", "min_gru", "--seconds", "0.01", "--dim", "8", "--depth", "1"])
    assert "words over S3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["min_gri"], "there is no mixer 'min_gri'; did you mean 'min_gru'?"),
        (["{name: gla, haeds: 2}"], "no option 'haeds'; did you mean 'heads'?"),
        (["{name: gla"], "this is not YAML"),
        (["{heads: 2}"], "there is no mixer None"),
        (["lion"], "LION reads the whole sequence before it answers"),
        (["gla", "--seconds", "0"], "seconds is 0.0"),
        (["gla", "--sed", "0"], "there is no option --sed; did you mean --seed?"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        cli.main(["card", *arguments])
    [line] = capsys.readouterr().err.splitlines()
    assert sentence in line
