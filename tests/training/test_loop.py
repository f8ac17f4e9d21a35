import json
import math

import pytest
import torch

from statewise.tasks.language import Streams
from statewise.training.configuration import Data, LanguageRun, Optimizer
from statewise.training.language import evaluate_language_model, train_language_model
from statewise.training.loop import NotFinite, train
from statewise.training.optimization import learning_rate, parameter_groups
from statewise.training.processes import Processes
from statewise.training.runs import Run, checkpoint

PROSE = "It was the best of times, it was the worst of times. " * 60


def configuration(tmp_path, **options):
    fields = {"preset": "tiny", "streams": 2, "context": 32, "max_steps": 30, "quiet": True}
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "text").write_text(PROSE)
    data = Data(path=str(tmp_path / "text"))
    return LanguageRun(data=data, out=str(tmp_path / "run"), **{**fields, **options})


class Recorder(torch.nn.Module):
    """A model that answers uniformly and notes the state it was given."""

    def __init__(self, grows=False, answer=0.0):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.full((256,), answer))
        self.grows, self.given = grows, []

    def forward(self, tokens, state=None, *, reset=None):
        self.given.append(state)
        return self.bias.expand(*tokens.shape, 256), (self.bias.sum() + tokens[:, -1],)

    def state_size(self, time):
        return time if self.grows else 1

    def save_pretrained(self, folder):
        (folder / "config.json").write_text("{}")


def run_loop(tmp_path, model, scores=(1.0, 1.0), **options):
    config = configuration(tmp_path, **options)
    streams = Streams([torch.tensor(list(PROSE.encode()))], streams=2, context=32)
    run = Run(config.out, {}, overwrite=False)
    figures = iter(scores)
    outcome = train(
        model,
        streams,
        config,
        run,
        lambda: next(figures),
        processes=Processes(config),
        about={},
    )
    return outcome, run


@pytest.mark.parametrize("mixer", ["min_gru", "lstm", {"name": "attention", "window": 16}])
def test_a_model_learns_a_sentence(tmp_path, mixer):
    trained = train_language_model(configuration(tmp_path, mixer=mixer, max_steps=120))
    assert trained.bits_per_byte < 1.5
    text = "".join(trained.model.generate("It was the ", max_tokens=60, temperature=0))
    assert "of times" in text


def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for name in ("a", "b"):
        trained = train_language_model(configuration(tmp_path / name, max_steps=5))
        weights.append(trained.model.state_dict())
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


def test_the_score_while_training_is_that_of_the_held_out_documents(tmp_path):
    config = configuration(tmp_path, max_steps=2)
    config.data.separator = "times, "
    trained = train_language_model(config)
    # The same number two ways: bytes counted from tokens and, at the end, from the text.
    assert trained.bits_per_byte == pytest.approx(trained.outcome.best)
    assert "in 55 documents" in (trained.folder / "train.log").read_text()


def test_the_score_while_training_is_that_of_the_first_tokens(tmp_path):
    texts = ["a" * 40, "b" * 300, "ab", "ba" * 5]
    config = configuration(tmp_path, max_steps=2)
    config.data.separator, config.data.held_out = "|", 0.04
    config.evaluation.tokens = 7
    (tmp_path / "text").write_text("|".join(texts))
    trained = train_language_model(config)
    beginning = evaluate_language_model(trained.model, ["ab", "babab"], quiet=True)
    assert beginning == pytest.approx(trained.outcome.best)


def test_the_state_is_carried_without_its_gradient(tmp_path):
    model = Recorder()
    run_loop(tmp_path, model, max_steps=3)
    assert model.given[0] is None
    assert all(state is not None and not state[0].requires_grad for state in model.given[1:])


def test_a_growing_state_is_not_carried(tmp_path):
    model = Recorder(grows=True)
    run_loop(tmp_path, model, max_steps=3)
    assert model.given == [None] * 3


def test_seconds_end_a_run(tmp_path):
    outcome, _ = run_loop(tmp_path, Recorder(), max_steps=None, max_seconds=0.3)
    assert 0.3 <= outcome.seconds < 5


def test_the_best_is_kept_beside_the_last(tmp_path):
    outcome, run = run_loop(tmp_path, Recorder(), max_steps=3, scores=(2.0,))
    assert outcome.best == 2.0
    assert checkpoint(run.folder).name == "step-3"
    last = (run.folder / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["bits_per_byte"] == 2.0


def test_a_gradient_that_is_not_finite_stops_the_run_and_says_where(tmp_path):
    with pytest.raises(NotFinite, match="gradient of step 0 is not finite"):
        run_loop(tmp_path, Recorder(answer=math.nan))


def test_vectors_and_embeddings_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Linear(3, 3))
    decays, others = parameter_groups(model, 0.1)
    assert [p.shape for p in decays["params"]] == [(3, 3)]
    assert [p.shape for p in others["params"]] == [(5, 3), (3,)]
    assert (decays["weight_decay"], others["weight_decay"]) == (0.1, 0.0)


def test_the_rate_warms_up_and_falls():
    config = Optimizer(learning_rate=1.0, warm_up=9, final=0.1)
    assert learning_rate(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(config, 9, 0.0) == pytest.approx(1.0)
    assert learning_rate(config, 99, 0.5) == pytest.approx(0.55)
    assert learning_rate(config, 99, 1.0) == pytest.approx(0.1)
