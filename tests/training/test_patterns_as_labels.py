"""Classifiers that learn from what patterns say, and then from what is right."""

import json
import random

import pytest

from statewise import cli
from tests.training.small_labels import SMALL
from tests.training.test_labels import run_with_notes, scores

MOODS = {"joy": ["sun", "song", "gift"], "anger": ["queue", "noise", "bill"]}
TAGS = {"joy": "#happy", "anger": "#angry"}


def moods(count, seed, noise=0.0):
    """Return texts and moods; a share of the tags that are added to them is wrong."""
    draw = random.Random(seed)
    for _ in range(count):
        mood = draw.choice(list(MOODS))
        text = f"{draw.choice(['what', 'such'])} a {draw.choice(MOODS[mood])}"
        other = draw.choice(list(MOODS)) if draw.random() < noise else mood
        yield f"{text} {TAGS[other]}", text, mood


@pytest.fixture
def files(tmp_path):
    noisy = [json.dumps({"text": text}) for text, *_ in moods(300, 0, noise=0.3)]
    noisy += [json.dumps({"text": text}) for text in ("no tag", "#happy #angry", "#happy")]
    (tmp_path / "noisy.jsonl").write_text("\n".join(noisy) + "\n")
    for name, seed in (("clean", 1), ("test", 2)):
        rows = [{"text": text, "label": mood} for _, text, mood in moods(40, seed)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "tags.tsv").write_text("#happy\\b\tjoy\n#angry\\b\tanger\n")
    return tmp_path


def test_from_patterns_to_what_is_right(files, capsys):
    line = f"train classifier --data.test {files}/test.jsonl {SMALL} --max_epochs 4"
    patterns = f"--data.train {files}/noisy.jsonl --data.patterns {files}/tags.tsv"
    cli.main(f"{line} {patterns} --out {files}/noisy".split())
    assert scores(files / "noisy")["test_accuracy"] > 0.9
    log = (files / "noisy/train.log").read_text()
    assert f"tags.tsv: 300 of the 303 texts of {files}/noisy.jsonl have a label" in log
    # What told the label is not there to be learned.
    vocabulary = json.loads(next((files / "noisy").rglob("vocabulary.json")).read_text())
    assert {"sun", "happy"} & set(vocabulary["words"]) == {"sun"}
    clean = f"--data.train {files}/clean.jsonl --start {files}/noisy --keep_head true"
    cli.main(f"{line} {clean} --out {files}/clean".split())
    assert scores(files / "clean")["test_accuracy"] > 0.95
    # What is evaluated has labels of its own.
    said = json.loads(run_with_notes(capsys, f"evaluate {files}/noisy --json"))
    assert said["accuracy"] == scores(files / "noisy")["test_accuracy"]


def test_what_is_wrong_with_patterns(files, capsys):
    (files / "none.tsv").write_text("#bored\tboredom\n")
    (files / "bad.tsv").write_text("#happy\tjoy\n(\tanger\n")
    line = f"train classifier --data.train {files}/noisy.jsonl --out {files}/new {SMALL}"
    for options, why in (
        (f"--data.patterns {files}/none.tsv", "no text in it has patterns of one label"),
        (f"--data.patterns {files}/bad.tsv", "bad.tsv:2: this is no regular expression"),
        (f"--data.patterns {files}/lost.tsv", "lost.tsv: there is no such file"),
        (f"--data.patterns {files}/tags.tsv --data.conversation x", "no conversation beside them"),
        ("", "noisy.jsonl:1: 'label' should be a string"),
    ):
        with pytest.raises(SystemExit):
            cli.main(f"{line} {options}".split())
        said = capsys.readouterr().err
        assert why in said
        assert len(said.splitlines()) == 1
    assert not (files / "new").exists()
