"""Thirty-odd things that go wrong: each gets one sentence, and no finished checkpoint is lost."""

import errno
import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from statewise import cli
from statewise.models import pretrained
from statewise.models.language_model import LanguageModel
from statewise.tasks.language import Streams
from statewise.training.runs import checkpoint

PROSE = "It was the best of times, it was the worst of times. " * 60
USUAL = "--preset tiny --streams 2 --context 32 --max_steps 4 --quiet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a text and a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text").write_text(PROSE)
    cli.main(f"train lm --data.path {folder / 'text'} --out {folder / 'run'} {USUAL}".split())
    return folder


@pytest.fixture
def here(finished, tmp_path, monkeypatch):
    """A copy of it, to do harm to."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    stored = tmp_path / "run/config.yaml"
    stored.write_text(stored.read_text().replace(str(finished), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, content):
    def change():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def cut(pattern):
    """Cut a file of the last checkpoint in half."""

    def change():
        path = next(checkpoint("run", "last").glob(pattern))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def damage(name):
    return lambda: (checkpoint("run", "last") / name).write_text('{"half": ')


NEW = f"--data.path text --out new {USUAL}"
AGAIN = f"--data.path text --out run --resume {USUAL} --max_steps 6"

BAD_INPUT = {
    "no data": (None, f"--out new {USUAL}", "--data.path must be given"),
    "a missing file": (None, f"{NEW} --data.path lost", "lost: there is no such file"),
    "an empty file": (write("x", ""), f"{NEW} --data.path x", "x: the file is empty"),
    "a binary file": (write("x", b"a\0b"), f"{NEW} --data.path x", "x: this is a binary file"),
    "another encoding": (
        write("x", b"one\ncaf\xe9"),
        f"{NEW} --data.path x",
        r"x:2: byte 0xe9 is not utf-8",
    ),
    "an unknown encoding": (None, f"{NEW} --data.encoding utf-9", "knows no encoding 'utf-9'"),
    "a damaged gzip": (
        write("x.gz", gzip.compress(PROSE.encode())[:60]),
        f"{NEW} --data.path x.gz",
        "x.gz: the gzip file is damaged",
    ),
    "a short text": (write("x", "brief " * 5), f"{NEW} --data.path x", "context of 32 needs more"),
    "a damaged JSON line": (
        write("x.jsonl", '{"text": "one"}\n{"text": '),
        f"{NEW} --data.path x.jsonl",
        "x.jsonl:2: ",
    ),
    "a folder without texts": (os.mkdir, f"{NEW} --data.path empty", "empty: "),
    "a missing tokenizer": (None, f"{NEW} --data.tokenizer lost.json", "lost.json"),
    "too much held out": (
        None,
        f"{NEW} --data.held_out 1.5",
        "held_out 1.5: .* less than 1",
    ),
    "an unknown mixer": (None, f"{NEW} --mixer min_gro", "did you mean 'min_gru'"),
    "an unknown preset": (None, f"{NEW} --preset tinny", "tiny"),
    "an unknown option": (None, f"{NEW} --max_step 9", "did you mean --max_steps"),
    "an unknown schedule": (None, f"{NEW} --optimizer.schedule cosin", "--optimizer.schedule"),
    "a negative rate": (None, f"{NEW} --optimizer.learning_rate -1", "greater than 0"),
    "no end": (
        None,
        "--data.path text --out new --preset tiny",
        "set max_seconds, max_steps or max_tokens",
    ),
    "a truncation beyond the context": (
        None,
        f"{NEW} --truncation 64",
        "truncation is 64, more than the 32",
    ),
    "parts that do not divide": (
        None,
        f"{NEW} --accumulate 3",
        "2 streams cannot be divided into 3 equal parts",
    ),
    "both anew and on": (None, f"{NEW} --overwrite --resume", "choose one"),
    "an unknown tracker": (None, f"{NEW} --trackers [paper]", "trackers: 'paper' is not installed"),
    "a run that exists": (None, f"{NEW} --out run", "run: a run is there already"),
    "a file for a folder": (None, f"{NEW} --out text", "text: this is a file"),
    "somebody's folder": (
        lambda: (os.mkdir("home"), write("home/thesis.tex", "years")()),
        f"{NEW} --out home --overwrite",
        "home: this folder holds other files",
    ),
    "another model to go on with": (
        None,
        f"{AGAIN} --mixer lstm",
        "cannot go on with another mixer: it has min_gru, not lstm",
    ),
    "another text to go on with": (
        write("text", PROSE.replace("best", "rest")),
        AGAIN,
        "cannot go on: its text was",
    ),
    "a damaged pointer": (
        write("run/checkpoints/pointer.json", '{"last": "st'),
        AGAIN,
        "pointer.json: the file is damaged",
    ),
    "a damaged configuration": (
        write("run/config.yaml", "data: [unclosed"),
        AGAIN,
        "config.yaml: the file is damaged",
    ),
    "damaged progress": (damage("training.json"), AGAIN, "training.json: the file is damaged"),
    "moments cut short": (
        cut("training-*.safetensors"),
        AGAIN,
        "training-00000.safetensors: the file is missing or damaged",
    ),
    "weights cut short": (
        cut("model.safetensors"),
        AGAIN,
        "model.safetensors is cut short or damaged",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_sentence(here, capsys, case):
    change, options, sentence = BAD_INPUT[case]
    if change is os.mkdir:
        os.mkdir("empty")
    elif change is not None:
        change()
    before = files()
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "lm", *options.split()])
    said = capsys.readouterr()
    assert left.value.code == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("statewise: ")
    assert re.search(sentence, said.err), said.err
    assert files() == before
    assert not Path("new").exists()


def files():
    """Return what the run folder holds, but for its log, byte by byte."""
    return {
        path: path.read_bytes()
        for path in sorted(Path("run").rglob("*"))
        if path.is_file() and path.name not in ("train.log", "metrics.jsonl", "config.yaml")
    }


FAULTY = f"train lm --data.path text --out new {USUAL} --checkpoints.steps 2".split()


def fails(capsys, *options):
    """Train until the fault; return what was said, having checked what it leaves."""
    with pytest.raises(SystemExit) as left:
        cli.main([*FAULTY, *options])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert len(said.splitlines()) == 1, said
    kept = checkpoint("new", "last")
    assert str(kept) in said
    assert LanguageModel.from_pretrained(kept)
    return said


def after(step, then, monkeypatch):
    """Let something happen when the batch of a step is read."""
    whole = Streams.read

    def read(self, before, length, *rows):
        if before == step * length:
            then()
        return whole(self, before, length, *rows)

    monkeypatch.setattr(Streams, "read", read)


def test_a_gradient_that_is_not_finite_stops_and_names_it(here, capsys, monkeypatch):
    poison(monkeypatch, 3)
    said = fails(capsys)
    assert "the gradient of step 3 is not finite of stack.parts.0.parts.0.weight, " in said
    assert "in the group of matrices" in said


@pytest.mark.parametrize("mixer", ["min_gru", "attention"])  # a state that is carried, and none
def test_a_gradient_that_is_not_finite_is_skipped_if_asked(here, monkeypatch, capsys, mixer):
    poison(monkeypatch, 1)
    cli.main([*FAULTY, "--optimizer.not_finite", "skip", "--mixer", mixer])
    assert capsys.readouterr() == ("", "")  # as --quiet promises
    lines = Path("new/metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if "event" in line]
    assert [(e["step"], e["event"]) for e in events] == [(1, "skipped")]


def poison(monkeypatch, step):
    """Let one step's loss have an infinite gradient."""
    from statewise.training import objective

    count, whole = [0], objective.loss_sum

    def loss(logits, targets):
        count[0] += 1
        return whole(logits, targets) * (math.inf if count[0] == step + 1 else 1)

    monkeypatch.setattr(objective, "loss_sum", loss)


def test_no_space_for_measurements(here, capsys, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a device that is always full")

    def fill():
        Path("new/metrics.jsonl").unlink(missing_ok=True)
        Path("new/metrics.jsonl").symlink_to("/dev/full")

    after(3, fill, monkeypatch)
    assert "No space left on device" in fails(capsys, "--log_steps", "1")


@pytest.mark.parametrize("where", ["model", "moments"])
def test_no_space_for_a_checkpoint(here, capsys, monkeypatch, where):
    whole = pretrained.save_tensors

    def save(tensors, path, metadata):
        if "step-4" in str(path) and (where == "model") == ("model" in path.name):
            path.write_bytes(b"as much as there was room for")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        whole(tensors, path, metadata)

    monkeypatch.setattr(pretrained, "save_tensors", save)
    assert "No space left on device" in fails(capsys)
    assert [path.name for path in Path("new/checkpoints").iterdir() if path.is_dir()] == ["step-2"]


def test_a_file_that_may_not_grow(here):
    """The system's own refusal, through the library that writes the tensors."""
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000));"
        f"from statewise import cli; cli.main({FAULTY!r} + ['--model.dim', '128'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "there is no checkpoint yet" in done.stderr


def test_a_deleted_folder_is_made_again(here, capsys, monkeypatch):
    after(3, lambda: shutil.rmtree("new"), monkeypatch)
    said = fails(capsys, "--log_steps", "1")
    assert "metrics.jsonl" in said
    cli.main([*FAULTY, "--resume", "--max_steps", "6"])
    assert checkpoint("new", "last").name == "step-6"


@pytest.mark.parametrize("stream", ["closed", "full"])
def test_a_bar_that_nobody_can_see_does_not_end_the_run(here, stream):
    command = [sys.executable, "-m", "statewise", *FAULTY, "--max_steps", "300"]
    command += ["--checkpoints.steps", "100"]
    command.remove("--quiet")
    reader, writer = os.pipe()
    if stream == "closed":
        os.close(reader)
    else:
        os.set_blocking(writer, False)
        while True:
            try:
                os.write(writer, b"x" * 4096)
            except BlockingIOError:
                break
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, timeout=120)
    os.close(writer)
    assert done.returncode == 0, done.stdout
    assert b"bits per byte" in done.stdout
    assert torch.isfinite(
        LanguageModel.from_pretrained("new/checkpoints/step-300").embedding.weight
    ).all()
