import json

import pytest
import yaml

from statewise.training.runs import Run, checkpoint


def keep(run, name, content, *, best):
    with run.begin(name) as folder:
        (folder / "config.json").write_text(content)
    run.point(name, best=best)


def test_the_last_and_the_best_are_kept_and_no_others(tmp_path):
    run = Run(tmp_path / "run", {"seed": 1}, overwrite=False)
    for step, best in ((1, True), (2, True), (3, False), (4, False)):
        keep(run, f"step-{step}", str(step), best=best)
    assert checkpoint(tmp_path / "run").name == "step-2"
    assert checkpoint(tmp_path / "run", "last").name == "step-4"
    left = sorted(p.name for p in run.checkpoints.iterdir())
    assert left == ["pointer.json", "step-2", "step-4"]
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == {"seed": 1}


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path):
    run = Run(tmp_path / "run", {}, overwrite=False)
    keep(run, "step-1", "1", best=True)

    def fill():
        with run.begin("step-2") as folder:
            (folder / "half").write_text("of it")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fill()
    assert checkpoint(tmp_path / "run").name == "step-1"
    assert not (run.checkpoints / "step-2").exists()


def test_a_run_is_not_overwritten_unasked(tmp_path):
    Run(tmp_path, {"seed": 1}, overwrite=False)
    with pytest.raises(FileExistsError, match="a run is there already"):
        Run(tmp_path, {"seed": 2}, overwrite=False)
    assert "seed: 1" in (tmp_path / "config.yaml").read_text()
    Run(tmp_path, {"seed": 2}, overwrite=True)
    assert "seed: 2" in (tmp_path / "config.yaml").read_text()


def test_a_run_killed_as_it_began_is_begun_again(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".config.yaml.tmp").write_text("seed")
    Run(tmp_path, {"seed": 1}, resume=True)
    assert (tmp_path / "config.yaml").read_text() == "seed: 1\n"


def test_the_checkpoints_of_others_are_never_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/epoch1.pt").write_text("a week of work")
    for way in ("overwrite", "resume"):
        with pytest.raises(FileExistsError, match="other files than a run"):
            Run(tmp_path, {}, **{way: True})
    assert (tmp_path / "checkpoints/epoch1.pt").exists()


def test_what_is_no_run_is_never_removed(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="other files than a run"):
        Run(tmp_path, {}, overwrite=True)
    with pytest.raises(FileExistsError, match="this is a file"):
        Run(tmp_path / "thesis.tex", {}, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_folder_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        checkpoint(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither a run with a checkpoint nor a model"):
        checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "pointer.json").write_text('{"best": "st')
    with pytest.raises(ValueError, match=r"pointer\.json: the file is damaged"):
        checkpoint(tmp_path)


def test_measurements_are_one_json_a_line(tmp_path):
    run = Run(tmp_path / "run", {}, overwrite=False)
    run.measure(step=1, loss=2.5)
    run.measure(step=2, loss=2.0)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [2.5, 2.0]
