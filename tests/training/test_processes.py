"""Two processes do what one does that accumulates over two parts."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from statewise.tasks import documents
from statewise.training.runs import checkpoint

LIMIT = 1e-5
"""Relative, between losses. On real text: a sentence learned by heart has losses near zero, and
its rounding errors are then relative to nothing."""


def run(folder, processes, *options, steps=200):
    (folder / "text").write_text(documents.manual())
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    launcher += ["--master_port", "0", "--standalone"]
    command = [
        *(launcher if processes > 1 else [sys.executable]),
        *("-m", "statewise", "train", "lm", "--data.path", str(folder / "text")),
        *("--preset", "tiny", "--streams", "4", "--context", "32", "--max_steps", str(steps)),
        *("--evaluation.seconds", "null", "--log_steps", "1", "--device", "cpu"),
        *("--json", "--quiet"),
        *options,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bits_per_byte") == 1  # one process speaks for all


def losses(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {x["step"]: x["loss_bits"] for x in lines if "loss_bits" in x}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run(folder, 1, "--accumulate", "2", "--out", str(folder / "run"))
    return folder / "run"


@pytest.mark.parametrize("distribution", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(tmp_path, alone, distribution):
    out = tmp_path / "run"
    run(tmp_path, 2, "--distribution", distribution, "--out", str(out))
    ours, theirs = losses(out), losses(alone)
    assert len(ours) == len(theirs) == 200
    assert max(abs(ours[step] / theirs[step] - 1) for step in theirs) < LIMIT
    a, b = (load_file(checkpoint(x, "last") / "model.safetensors") for x in (out, alone))
    assert a.keys() == b.keys()
    assert all(a[name].shape == b[name].shape for name in b)


def test_another_division_of_the_rows_would_be_noticed(tmp_path, alone):
    """The comparison can fail: with its rows in other streams the run is another one."""
    run(tmp_path, 1, "--streams", "2", "--out", str(tmp_path / "run"))
    ours, theirs = losses(tmp_path / "run"), losses(alone)
    assert max(abs(ours[step] / theirs[step] - 1) for step in theirs) > 100 * LIMIT


@pytest.mark.parametrize("distribution", ["ddp", "fsdp"])
def test_two_processes_go_on_where_they_stopped(tmp_path, distribution):
    options = ["--distribution", distribution, "--truncation", "16"]
    for name, steps in (("whole", [12]), ("halves", [6, 12])):
        for number in steps:
            out = ["--out", str(tmp_path / name), "--resume"]
            run(tmp_path, 2, *options, *out, "--optimizer.schedule", "constant", steps=number)
    folders = [checkpoint(tmp_path / name, "last") for name in ("whole", "halves")]
    for file in sorted(folders[0].glob("*.safetensors")):
        a, b = load_file(file), load_file(folders[1] / file.name)
        assert a.keys() == b.keys()
        assert all((a[key] == b[key]).all() for key in a), file
    assert len(list(folders[0].glob("training-*.safetensors"))) == 2


def test_other_processes_than_before_are_refused(tmp_path):
    run(tmp_path, 1, "--out", str(tmp_path / "run"), steps=2)
    with pytest.raises(AssertionError, match="its processes was 1 and is 2"):
        run(tmp_path, 2, "--out", str(tmp_path / "run"), "--resume", steps=4)


@pytest.mark.long
def test_a_compiled_model_learns_the_same(tmp_path):
    """Here, in a process of its own, because Dynamo refuses the hook that checks shapes."""
    found = []
    for compiled in ("false", "true"):
        out = tmp_path / compiled
        run(tmp_path, 1, "--compile", compiled, "--out", str(out), steps=5)
        found.append(losses(out))
    assert max(abs(found[0][step] / found[1][step] - 1) for step in found[0]) < LIMIT
