"""A run that was stopped, by whatever means, and goes on ends as one that never stopped."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from statewise.training import averaging, loop
from statewise.training.configuration import LanguageRun
from statewise.training.language import train_language_model
from statewise.training.loop import MEASURED, Training
from statewise.training.runs import POINTER, checkpoint, stored_configuration
from tests.training.test_loop import PROSE, configuration


def contents(folder):
    """Return all tensors of a run's last checkpoint."""
    last = checkpoint(folder, "last")
    return {
        f"{path.name}/{name}": tensor
        for path in sorted(last.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mixer": ["lstm", {"name": "attention", "window": 16}]},
        {"mixer": {"name": "attention", "window": None}},
        {"accumulate": 2, "truncation": 8},
        {"optimizer": {"schedule": "infinite"}, "precision": "bfloat16"},
        {"optimizer": {"gradient_noise": 0.1, "cycles": 2}},
        {"model": {"dropout": {"words": 0.1, "layers": 0.3, "output": 0.2, "locked": True}}},
        {"penalties": {"loudness": 2.0, "drift": 1.0}, "optimizer": {"method": "sgd"}},
        {"context_deviation": 6.0, "context_halved": 0.3, "truncation": 8},
        {"truncation": 8, "truncation_chance": 0.5, "recompute": True},
        {"sparsity": {"share": 0.6, "step": 3}},
        {"mixer": "lstm", "constraint": {"only": "*weight_hh*", "rate": 0.5, "limit": 0.5}},
    ],
    ids=[
        *("min_gru", "hybrid", "growing state", "parts and pieces", "bfloat16", "noise"),
        *("dropout", "penalties", "random lengths", "random cuts", "sparse", "constraint"),
    ],
)
def test_a_run_in_two_halves_is_the_run_in_one(tmp_path, options):
    whole = configuration(tmp_path / "a", max_steps=12, checkpoints={"steps": 6}, **options)
    train_language_model(whole)
    halves = configuration(tmp_path / "b", max_steps=12, checkpoints={"steps": 6}, **options)
    stop_after(6, halves)
    assert checkpoint(halves.out, "last").name == "step-6"
    train_language_model(halves.model_copy(update={"resume": True}))
    assert same(contents(whole.out), contents(halves.out))
    # and what it wrote down reads as one run
    lines = Path(halves.out, "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(steps)


def test_a_run_that_averages_is_the_run_in_one(tmp_path, monkeypatch):
    """Begun in the first half, and, as readings count from the last one, in the second."""
    for begins in (0, 2):
        monkeypatch.setattr(averaging, "triggered", lambda before, now, n: len(before) == n)
        options = {
            "max_steps": 12,
            "checkpoints": {"steps": 6},
            "evaluation": {"seconds": None, "steps": 4},
            "optimizer": {"average_after": begins},
        }
        whole = configuration(tmp_path / f"a{begins}", **options)
        train_language_model(whole)
        halves = configuration(tmp_path / f"b{begins}", **options)
        stop_after(6, halves)
        train_language_model(halves.model_copy(update={"resume": True}))
        found = contents(whole.out)
        assert any("average/" in name for name in found)
        assert same(found, contents(halves.out))


def test_a_run_with_a_teacher_is_the_run_in_one(tmp_path):
    teacher = train_language_model(configuration(tmp_path / "t", max_steps=2, mixer="lstm"))
    options = {
        "max_steps": 12,
        "checkpoints": {"steps": 6},
        "accumulate": 2,
        "distillation": {"teacher": str(teacher.folder)},
    }
    whole = configuration(tmp_path / "a", **options)
    train_language_model(whole)
    halves = configuration(tmp_path / "b", **options)
    stop_after(6, halves)
    train_language_model(halves.model_copy(update={"resume": True}))
    assert same(contents(whole.out), contents(halves.out))


def test_equal_compute_is_measured_once(tmp_path, monkeypatch):
    """What a run may read does not change when it goes on, however fast the machine then is."""
    noted = []
    monkeypatch.setattr(loop, "median", lambda rates: noted.append(rates) or 2000.0)
    options = {"max_steps": None, "equal_compute": 1.0, "checkpoints": {"steps": 1}}
    config = configuration(tmp_path, **options)
    stop_after(MEASURED + 1, config)
    monkeypatch.setattr(loop, "median", lambda rates: 1e9)
    trained = train_language_model(config.model_copy(update={"resume": True}))
    assert trained.outcome.tokens == 2048  # 2000 tokens, in whole steps of 64
    (rates,) = noted
    assert len(rates) == MEASURED - MEASURED // 3
    assert all(rate > 0 for rate in rates)


def stop_after(step, config):
    """Train and fail right after the checkpoint of a step."""

    def fail(self, share, whole=Training._step):
        if self.progress.step == step:
            raise ZeroDivisionError
        return whole(self, share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_step", fail)
        with pytest.raises(ZeroDivisionError):
            train_language_model(config)


def test_another_seed_would_be_noticed(tmp_path):
    """The comparison can fail."""
    configs = [configuration(tmp_path / str(seed), max_steps=2, seed=seed) for seed in (0, 1)]
    for config in configs:
        train_language_model(config)
    assert not same(*(contents(config.out) for config in configs))


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path):
    config = configuration(tmp_path, max_steps=4)
    train_language_model(config)
    longer = train_language_model(config.model_copy(update={"resume": True, "max_steps": 9}))
    assert longer.outcome.steps == 9


def test_resume_begins_where_there_is_no_run(tmp_path):
    assert (
        train_language_model(configuration(tmp_path, max_steps=2, resume=True)).outcome.steps == 2
    )


def test_a_run_that_replaced_another_goes_on_from_its_own_configuration(tmp_path):
    config = configuration(tmp_path, max_steps=2, overwrite=True)
    train_language_model(config)
    stored = stored_configuration(config.out, LanguageRun)
    longer = stored.model_copy(update={"resume": True, "max_steps": 4})
    assert train_language_model(LanguageRun(**longer.model_dump())).outcome.steps == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    config = configuration(tmp_path, max_steps=100_000)
    process = launch(config)
    wait_for(process, lambda: (tmp_path / "run/metrics.jsonl").exists())
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert "to go on: statewise train lm --config" in error
    assert "--resume" in error
    last = checkpoint(config.out, "last").name
    step = int(last.removeprefix("step-"))
    command = [*COMMAND, "--config", f"{config.out}/config.yaml", "--resume", "--quiet"]
    done = subprocess.run(
        [*command, "--max_steps", str(step + 3)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert checkpoint(config.out, "last").name == f"step-{step + 3}"


COMMAND = [sys.executable, "-m", "statewise", "train", "lm"]


def launch(config, *more):
    options = {
        "data.path": config.data.path,
        "preset": config.preset,
        "streams": config.streams,
        "context": config.context,
        "max_steps": config.max_steps,
        "out": config.out,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return subprocess.Popen(
        [*COMMAND, *words, "--quiet", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.001)


def unfinished(folder):
    """Return whether a checkpoint is being written just now."""
    try:
        named = set(json.loads((folder / "checkpoints" / POINTER).read_text()).values())
        return any(
            path.name not in named and path.is_dir() for path in (folder / "checkpoints").iterdir()
        )
    except (OSError, ValueError):
        return False


@pytest.mark.long
def test_twenty_kills_leave_no_trace(tmp_path):
    """SIGKILL at random moments, every other one while a checkpoint is being written."""
    steps, dice = 900, random.Random(0)
    whole = configuration(tmp_path / "a", max_steps=steps)
    train_language_model(whole)
    config = configuration(tmp_path / "b", max_steps=steps)
    pointer, torn = tmp_path / "b/run/checkpoints" / POINTER, 0
    for kill in range(20):
        before = pointer.stat().st_mtime_ns if pointer.exists() else None
        process = launch(config, "--resume", "--checkpoints.steps", "2")
        wait_for(process, lambda was=before: pointer.exists() and pointer.stat().st_mtime_ns != was)
        time.sleep(dice.uniform(0, 0.3))
        if kill % 2:
            wait_for(process, lambda: unfinished(tmp_path / "b/run"))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
        torn += unfinished(tmp_path / "b/run")
    assert torn >= 5, "too few kills met a checkpoint being written"
    process = launch(config, "--resume")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert checkpoint(config.out, "last").name == f"step-{steps}"
    assert same(contents(whole.out), contents(config.out))


def test_the_text_must_be_the_one_it_began_with(tmp_path):
    config = configuration(tmp_path, max_steps=2)
    train_language_model(config)
    (tmp_path / "text").write_text(PROSE.replace("best", "rest"))
    with pytest.raises(ValueError, match="cannot go on: its text was"):
        train_language_model(config.model_copy(update={"resume": True, "max_steps": 4}))
