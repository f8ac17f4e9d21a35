import json
import math
import re

import pytest
import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker
from torch.utils._pytree import tree_map

from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.tasks.language import Streams, loss_sum
from statewise.training.configuration import Data, LanguageRun, Optimizer
from statewise.training.language import evaluate_language_model, train_language_model
from statewise.training.loop import NotFinite, Training
from statewise.training.optimization import add_noise, learning_rate, parameter_groups
from statewise.training.processes import Processes
from statewise.training.runs import Run, checkpoint
from statewise.training.streaming import StreamLessons

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
    figures, processes = iter(scores), Processes(config)
    rows = processes.rows(config.streams, config.accumulate)
    lessons = StreamLessons(model, streams, config, rows, lambda: next(figures))
    training = Training(model, lessons, config, run, processes=processes, about={})
    return training.run_to_its_end(), run


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


def first_gradient(tmp_path, **options):
    """Return the gradient of the loop's first step, before it is clipped."""
    found = []

    def note(parameters, limit, whole=torch.nn.utils.clip_grad_norm_):
        parameters = list(parameters)
        found.append(torch.cat([p.grad.flatten() for p in parameters]))
        return whole(parameters, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", note)
        train_language_model(configuration(tmp_path, max_steps=1, **options))
    return found[0]


def direct_gradient(tmp_path, truncation=None, **options):
    """Return the same by one plain pass over the whole context, or in pieces."""
    config = configuration(tmp_path, max_steps=1, **options)
    torch.manual_seed(config.seed)
    model = LanguageModel(LanguageModelConfig.from_preset("tiny", mixer=config.mixer))
    seen = torch.tensor(list(PROSE.encode())[: -len(PROSE) // 10])
    batch = Streams([seen], streams=config.streams, context=config.context).batch(0)
    state, cost, size = None, torch.zeros(()), truncation or config.context
    for piece in zip(*(x.split(size, 1) for x in batch), strict=True):
        logits, state = model(piece[0], state, reset=piece[2])
        cost = cost + loss_sum(logits, piece[1])
        state = tree_map(torch.Tensor.detach, state)
    (cost / batch.inputs.numel()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def apart(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("mixer", ["min_gru", "lstm"])
def test_a_truncation_as_long_as_the_sequence_is_none(tmp_path, mixer):
    shape = {"context": 96, "mixer": mixer}
    full = direct_gradient(tmp_path, **shape)
    assert apart(first_gradient(tmp_path / "a", truncation=96, **shape), full) < 1e-5
    shorter = first_gradient(tmp_path / "b", truncation=24, **shape)
    assert apart(shorter, direct_gradient(tmp_path, truncation=24, **shape)) < 1e-5
    assert apart(shorter, full) > 1e-4  # so that it can be told


def test_parts_add_up_to_the_whole(tmp_path):
    whole = first_gradient(tmp_path / "a", streams=8)
    assert apart(first_gradient(tmp_path / "b", streams=8, accumulate=8), whole) < 1e-5


def test_recomputing_changes_nothing(tmp_path):
    whole = first_gradient(tmp_path / "a", truncation=16)
    assert torch.equal(first_gradient(tmp_path / "b", truncation=16, recompute=True), whole)


def test_patience_ends_a_run(tmp_path):
    scores = [3.0, 2.0, 2.5, 2.4, 2.3, 2.2, 2.1]
    options = {"evaluation": {"steps": 2, "patience": 2}, "max_steps": 100}
    outcome, run = run_loop(tmp_path, Recorder(), scores, **options)
    assert (outcome.steps, outcome.best) == (8, 2.0)
    assert "stopped early: no better score in 2 readings" in (run.folder / "train.log").read_text()


def test_tokens_end_a_run(tmp_path):
    outcome, _ = run_loop(tmp_path, Recorder(), max_steps=None, max_tokens=200)
    assert (outcome.tokens, outcome.steps) == (256, 4)


def test_the_log_names_the_backend_of_each_op(tmp_path):
    train_language_model(configuration(tmp_path, max_steps=1))
    assert re.search(r"scan runs on \w+ \(", (tmp_path / "run/train.log").read_text())


def test_an_infinite_schedule_does_not_know_its_end_until_it_cools_down():
    config = Optimizer(learning_rate=1.0, warm_up=0, final=0.0, schedule="infinite", cooldown=0.2)
    assert learning_rate(config, 9, 0.0) == learning_rate(config, 9, 0.79) == pytest.approx(1.0)
    assert learning_rate(config, 9, 0.85) == pytest.approx(0.5)
    assert learning_rate(config, 9, 1.0) == pytest.approx(0.0)
    constant = Optimizer(learning_rate=1.0, warm_up=0, schedule="constant")
    assert learning_rate(constant, 9, 1.0) == 1.0


def test_a_cosine_begins_again_in_every_cycle():
    config = Optimizer(learning_rate=1.0, warm_up=0, final=0.1, cycles=3)
    tops = [learning_rate(config, 9, progress) for progress in (0.0, 1 / 3, 2 / 3)]
    assert tops == pytest.approx([1.0] * 3)
    assert learning_rate(config, 9, 1 / 6) == pytest.approx(0.55)
    lows = [learning_rate(config, 9, progress) for progress in (1 / 3 - 1e-9, 1.0)]
    assert lows == pytest.approx([0.1] * 2)
    with pytest.raises(ValueError, match="cycles is 2, but a schedule that is constant"):
        Optimizer(schedule="constant", cycles=2)


def test_noise_of_gradients_has_its_variance_and_falls():
    parameters = [torch.zeros(1000, 100, requires_grad=True) for _ in range(2)]
    unused = torch.zeros(3, requires_grad=True)
    seen = {}
    for step, seed in ((0, 0), (0, 0), (99, 0), (0, 1)):
        for p in parameters:
            p.grad = torch.full_like(p, 5.0)
        add_noise(
            [{"params": parameters[:1]}, {"params": [unused, parameters[1]]}], 0.3, step, seed
        )
        noise = torch.stack([p.grad - 5 for p in parameters])
        seen.setdefault((step, seed), noise)
        assert torch.equal(seen[step, seed], noise)  # the same step, the same noise
        assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
        assert noise.var().item() == pytest.approx(0.3 * (1 + step) ** -0.55, rel=0.02)
        assert torch.corrcoef(noise.flatten(1))[0, 1].abs() < 0.02
    assert unused.grad is None
    assert not torch.equal(seen[0, 0], seen[0, 1])


def test_noise_moves_the_weights_of_a_run(tmp_path):
    runs = {}
    for noise in (0.0, 0.5):
        options = {"optimizer": {"gradient_noise": noise}, "max_steps": 2}
        config = configuration(tmp_path / str(noise), **options)
        runs[noise] = train_language_model(config).model.state_dict()
    assert not torch.equal(runs[0.0]["embedding.weight"], runs[0.5]["embedding.weight"])


def test_trackers_receive_what_is_measured(tmp_path):
    class Rows(GeneralTracker):
        name, requires_logging_directory, rows = "rows", False, []

        @property
        def tracker(self):
            return self.rows

        def store_init_configuration(self, values):
            pass

        def log(self, values, step=None, **options):
            self.rows.append((step, values))

        def finish(self):
            pass

    config = configuration(tmp_path, max_steps=20)
    processes = Processes(config)
    processes.accelerator = Accelerator(cpu=True, log_with=[Rows()])
    processes.accelerator.init_trackers("statewise")
    processes.config = config.model_copy(update={"trackers": ["rows"]})
    processes.track({"loss_bits": 2.0}, 10)
    assert Rows.rows == [(10, {"loss_bits": 2.0})]
