"""Forty things that go wrong with labelled data: each gets one sentence, and nothing is lost."""

import gzip
import io
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from statewise import cli
from statewise.training.classifier import Classifier
from statewise.training.labels import LabelLessons
from statewise.training.runs import checkpoint
from statewise.training.tagger import Tagger
from tests.training.small_labels import SMALL, columns, conllu, sentences, texts

ROW = "1\tUma\t_\tPROPN\t_\t_\t0\t_\t_\t_\n"
GOOD = conllu(sentences(24))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with files and a finished run of each kind."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "x.conllu").write_text(GOOD)
    (folder / "x.conll").write_text(columns(sentences(24)))
    (folder / "x.csv").write_text(texts(sentences(24)))
    for kind, file in (("tagger", "x.conllu"), ("classifier", "x.csv")):
        cli.main(
            f"train {kind} --data.train {folder / file} --out {folder / kind} "
            f"--max_epochs 1 {SMALL}".split()
        )
    text = "--data.path x.txt --preset tiny --streams 1 --context 8 --max_steps 1 --quiet"
    (folder / "x.txt").write_text("to be or not to be, that is the question. " * 9)
    before = Path.cwd()
    try:
        import os

        os.chdir(folder)
        cli.main(f"train lm {text} --out lm".split())
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(finished, tmp_path, monkeypatch):
    """A copy of it, to do harm to."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for kind in ("tagger", "classifier"):
        stored = tmp_path / kind / "config.yaml"
        stored.write_text(stored.read_text().replace(str(finished), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tags(content, sentence, options="", name="bad.conllu"):
    return f"train tagger --data.train {name} --out new {SMALL} {options}", name, content, sentence


def classes(content, sentence, options="", name="bad.csv"):
    return (
        f"train classifier --data.train {name} --out new {SMALL} {options}",
        name,
        content,
        sentence,
    )


def asked(line, sentence, content=None, name="bad"):
    return line, name, content, sentence


TAGGER = f"train tagger --data.train x.conllu --out new {SMALL}"
CLASSIFIER = f"train classifier --data.train x.csv --out new {SMALL}"
AGAIN = f"train tagger --data.train {{here}}/x.conllu --out tagger --resume {SMALL} --max_epochs 2"

BAD_INPUT = {
    "a broken column": tags(
        ROW.replace("_\t_\t_\n", "_\n") + "\n", "bad.conllu:1: expected 10 columns, found 8"
    ),
    "spaces for tabs": tags(ROW.replace("\t", " ") + "\n", "bad.conllu:1: .*divided by tabs"),
    "an empty form": tags(ROW.replace("Uma", "") + "\n", "bad.conllu:1: the form is empty"),
    "no tag in the column": tags(
        ROW.replace("PROPN", "_") + "\n", "no word has anything in column upos"
    ),
    "a number left out": tags(
        ROW + ROW.replace("1\t", "3\t") + "\n", "bad.conllu:2: expected word 2, found 3"
    ),
    "a truncated file": tags(GOOD.rstrip("\n")[:-20], "bad.conllu:[0-9]+: expected 10 columns"),
    "a file that ends inside a sentence": tags(
        ROW, "bad.conllu:1: the file ends inside a sentence"
    ),
    "a sentence of no words": tags(
        ROW + "\n# only a comment\n\n", "bad.conllu:3: the sentence has no words"
    ),
    "an empty file": tags("", "bad.conllu: the file is empty"),
    "a NUL byte": tags(GOOD.replace("Uma", "U\0a"), "bad.conllu: this is a binary file"),
    "another encoding": tags(
        GOOD.replace("Uma", "Ümä").encode("latin-1"), "bad.conllu:[0-9]+: byte 0xdc is not utf-8"
    ),
    "a lone CR": tags(GOOD.replace("\n", "\r", 3), "bad.conllu:1: "),
    "a byte-order mark in the middle": tags(GOOD + "\ufeff" + GOOD, "bad.conllu:[0-9]+: "),
    "a damaged gzip": tags(
        gzip.compress(GOOD.encode())[:80],
        "bad.conllu.gz: the gzip file is damaged",
        name="bad.conllu.gz",
    ),
    "a column that is not there": tags(
        GOOD, "there is no column 'pos' in CoNLL-U", "--data.column pos"
    ),
    "a column too many": tags(
        "a O\nb B-X\n", "there is no column 5", "--data.column 5", name="bad.conll"
    ),
    "columns by name": tags(
        "a O\n", "columns, which have numbers", "--data.column ner", name="bad.conll"
    ),
    "a ragged file": tags(
        "a x O\nb O\nc x O\n", "bad.conll:2: expected 3 columns, found 2", name="bad.conll"
    ),
    "mixed schemes": tags(
        "a S-X\nb B-X\nc L-X\n", "bad.conll:[0-9]+: the tags fit no scheme", name="bad.conll"
    ),
    "spans and classes": tags(
        "a B-X\nb NOUN\n", "bad.conll:2: 'NOUN' is no tag of a span", name="bad.conll"
    ),
    "JSON cut short": tags(
        '{"words": ["a"], "tags": ["O"]}\n{"wor', "bad.jsonl:2: this is not JSON", name="bad.jsonl"
    ),
    "a tag too few": tags(
        '{"words": ["a", "b"], "tags": ["O"]}\n',
        "bad.jsonl:1: expected 2 entries in 'tags', found 1",
        name="bad.jsonl",
    ),
    "no words": tags(
        '{"words": [], "tags": []}\n', "bad.jsonl:1: the sentence has no words", name="bad.jsonl"
    ),
    "one sentence": tags(ROW + "\n", "bad.conllu: too few examples to hold out 0.1 of them: 1"),
    "a class that is missing": tags(
        '{"words": ["a"], "tags": ["O"]}\n',
        "bad.jsonl:1: 'intent' should be a string",
        "--data.label intent",
        name="bad.jsonl",
    ),
    "a class where none can be": tags(
        GOOD, "bad.conllu: JSON lines .* alone have a 'intent'", "--data.label intent"
    ),
    "a column twice": tags(GOOD, "should name different columns", "--data.column [upos,upos]"),
    "an output too many": tags(
        GOOD, "output names 2, and there are tags of 1 kinds", "--output [crf,crf]"
    ),
    "a scheme of several columns": tags(
        GOOD, "scheme BIO is of one column", "--data.scheme BIO --data.column [upos,form]"
    ),
    "boundaries and more": tags(
        GOOD, "cuts words into characters: no others", "--data.column [boundaries,upos]"
    ),
    "a feature that is not there": tags(
        GOOD, "no word has anything in column xpos", "--data.features [xpos]"
    ),
    "a feature that is learned": tags(
        GOOD, "none that is learned", "--data.features [upos] --data.column upos"
    ),
    "a missing file": asked(
        f"{TAGGER} --data.train lost.conllu", "lost.conllu: there is no such file"
    ),
    "a missing file to test with": asked(
        f"{TAGGER} --data.test lost.conllu", "lost.conllu: there is no such file"
    ),
    "other tags to hold out": asked(
        f"{TAGGER} --data.dev bad.conllu",
        "bad.conllu:1: the tagger has no tag 'NN', nor any other",
        ROW.replace("PROPN", "NN") + "\n",
        "bad.conllu",
    ),
    "vectors that are none": asked(
        f"{TAGGER} --vectors bad", "bad:2: expected a word and 2 numbers, found 1", "a 1 2\nb 1\n"
    ),
    "vectors of other words": asked(
        f"{TAGGER} --vectors bad --data.train x.conllu --data.encoding utf-8",
        "bad: no word of the data",
        "1 2\n",
    ),
    "a lexicon that is none": asked(
        f"{CLASSIFIER} --lexicon bad", "bad:2: expected a word, a tab and numbers", "a\t1\nb 1\n"
    ),
    "a lexicon of other words": asked(
        f"{CLASSIFIER} --lexicon bad", "bad: it knows no word of x.csv", "zebra\t1\n"
    ),
    "a lexicon that is not there": asked(
        f"{CLASSIFIER} --lexicon lost", "lost: there is no such file"
    ),
    "a lexicon that nothing asks": asked(
        f"{CLASSIFIER} --lexicon bad --pooling [max]",
        "condition = gate is of attention",
        "Uma\t1\n",
    ),
    "a condition of nothing": asked(f"{CLASSIFIER} --condition gate", "set lexicon"),
    "an unknown mixer": asked(f"{TAGGER} --model.mixer lsmt", "did you mean 'lstm'"),
    "an unknown option": asked(f"{TAGGER} --max_epoch 2", "did you mean --max_epochs"),
    "a dropout of one": asked(f"{TAGGER} --model.dropout 1.0", "dropout"),
    "a run that exists": asked(f"{TAGGER} --out tagger", "tagger: a run is there already"),
    "one class": classes(
        "text,label\na b,x\nc,x\n" * 1,
        "all texts to train on have one label, 'x'",
        "--data.dev x.csv",
    ),
    "an empty text": classes("text,label\na,x\n ,y\n", "bad.csv:3: the text is empty"),
    "an open quote": classes('text,label\n"a,x\n', "bad.csv:2: this is no CSV"),
    "a name that is not there": classes(
        "title,label\na,x\n", "bad.csv:1: there should be one column 'text'; there are title, label"
    ),
    "a pooling that is not there": classes(
        "text,label\na,x\nb,y\n", "pooling", "--pooling [median]"
    ),
    "another model of the same folder": asked(
        f"{AGAIN} --model.depth 2", "cannot go on with another model.depth: it has 1, not 2"
    ),
    "other data to go on with": asked(
        AGAIN, "cannot go on: its data was", GOOD.replace("Uma", "Ida"), "x.conllu"
    ),
    "a run of another kind to go on with": asked(
        f"{TAGGER} --out classifier --resume", "classifier/config.yaml: "
    ),
    "a language model to predict with": asked(
        "predict lm x.conllu", "holds a language_model, which labels nothing"
    ),
    "a folder without a model": asked(
        "predict . x.conllu", "this is neither a run with a checkpoint nor a model"
    ),
    "other tags at evaluation": asked(
        "evaluate tagger --data.path bad.conllu",
        "bad.conllu:1: the tagger has no tag 'NN', nor any other of this file",
        ROW.replace("PROPN", "NN") + "\n",
        "bad.conllu",
    ),
    "no file of its own": asked(
        "evaluate tagger", "tagger has no test file of its own: name one with --data.path"
    ),
    "an option of another model": asked(
        "evaluate tagger --data.path x.conllu --data.separator x",
        "--data.separator is not for a tagger",
    ),
    "a column of another model": asked(
        "evaluate classifier --data.path x.csv --data.column x", "--data.column is not for"
    ),
    "n-grams for a tagger": asked("evaluate tagger --ngrams 3", "--ngrams is not for a tagger"),
    "no such matrix": asked(
        f"{TAGGER} --sparsity.share 0.5 --sparsity.only nothing", "no matrix is named 'nothing'"
    ),
    "a norm of no matrix": asked(f"{TAGGER} --constraint.only *", "a norm is held of matrices"),
    "readings by the clock": asked(
        f"{TAGGER} --optimizer.average_after 1 --evaluation.seconds 9", "which a clock would not"
    ),
    "a classifier's file for a tagger": asked(
        "evaluate tagger --data.path x.csv", "x.csv:1: expected 6 columns"
    ),
}


def test_there_are_forty():
    assert len(BAD_INPUT) >= 40


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gets_one_sentence(here, capsys, case):
    line, name, content, sentence = BAD_INPUT[case]
    if content is not None:
        # As bytes: Python would else end lines as the system does.
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = checkpoints()
    with pytest.raises(SystemExit) as left:
        cli.main(line.replace("{here}", str(here)).split())
    said = capsys.readouterr()
    assert left.value.code == 2, said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert said.err.startswith("statewise: ")
    assert re.search(sentence, said.err), said.err
    assert checkpoints() == before
    assert not Path("new").exists()


def checkpoints():
    """Return what the finished runs hold, byte by byte."""
    paths = sorted(Path("tagger/checkpoints").rglob("*")) + sorted(Path("classifier").rglob("*"))
    return {
        path: path.read_bytes()
        for path in paths
        if path.is_file() and path.name not in ("train.log", "metrics.jsonl", "config.yaml")
    }


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("model.safetensors", lambda data: data[: len(data) // 2]),
        ("vocabulary.json", lambda data: b'{"words": ['),
        ("vocabulary.json", lambda data: b'{"words": ["a"], "characters": ["b"]}'),
        ("config.json", lambda data: data.replace(b'"lstm"', b'"lsmt"')),
        ("config.json", lambda data: data.replace(b'"hidden": 16', b'"hidden": 17')),
        ("config.json", lambda data: data.replace(b'"tagger"', b'"parser"')),
    ],
)
def test_a_damaged_model_is_refused(here, capsys, file, change):
    path = checkpoint("tagger") / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SystemExit):
        cli.main(["predict", "tagger", "x.conllu"])
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1, said.err
    assert str(checkpoint("tagger")) in said.err


def test_a_missing_file_of_a_model(here, capsys):
    (checkpoint("tagger") / "vocabulary.json").unlink()
    with pytest.raises(SystemExit):
        cli.main(["predict", "tagger", "x.conllu"])
    assert "is not complete: it has no vocabulary.json" in capsys.readouterr().err


def test_an_unknown_label_at_evaluation_counts_as_wrong_and_is_told(here, capsys):
    Path("odd.conllu").write_text(GOOD.replace("VERB", "AUX", 1))
    cli.main(["evaluate", "tagger", "--data.path", "odd.conllu", "--json"])
    said = capsys.readouterr()
    assert re.search("odd.conllu:[0-9]+: the tagger has no tag 'AUX', which counts", said.err)
    assert json.loads(said.out)["labels"]["AUX"]["wanted"] == 1


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
def test_a_byte_order_mark_and_crlf_are_read_and_told(here, ends):
    content = "\ufeff" + GOOD.replace("\n", ends)
    Path("odd.conllu").write_bytes(content.encode())
    cli.main(f"train tagger --data.train odd.conllu --out new --max_epochs 1 {SMALL}".split())
    log = Path("new/train.log").read_text()
    assert "a byte-order mark at the beginning is left out" in log
    assert ("lines end in CRLF" in log) == (ends == "\r\n")


def test_a_gradient_that_is_not_finite_stops_and_keeps_the_epoch(here, capsys, monkeypatch):
    whole = LabelLessons.backward

    def backward(self, wrapped, done, processes):
        taken = whole(self, wrapped, done, processes)
        if done.step == 4:
            wrapped.head.weight.grad.fill_(torch.inf)
        return taken

    monkeypatch.setattr(LabelLessons, "backward", backward)
    with pytest.raises(SystemExit):
        cli.main(f"{TAGGER} --batch 8 --max_epochs 5".split())
    said = capsys.readouterr().err
    assert "the gradient of step 4 is not finite of head.weight" in said
    assert str(checkpoint("new", "last")) in said
    assert Tagger.load("new").predict([["Uma"]])


PYTHON = {
    "a string for a sentence": (Tagger, ["They ran"], [["A", "B"]], "sentence 1 is a string"),
    "a tag too few": (Tagger, [["a", "b"]], [["A"]], "sentence 1 has 2 words"),
    "tags as a string": (Tagger, [["a", "b"]], ["AB"], "sentence 1 has 2 words"),
    "tags of another head": (
        Tagger,
        [["a"], ["b"]],
        [{"x": ["A"]}, {"y": ["A"]}],
        "sentence 2 has labels of y; the first, of x",
    ),
    "tags with and without heads": (
        Tagger,
        [["a"], ["b"]],
        [{"x": ["A"]}, ["A"]],
        "sentence 2 has labels of another kind",
    ),
    "a tag too few of a head": (
        Tagger,
        [["a", "b"]],
        [{"x": ["A"], "y": "z"}],
        "sentence 1 has 2 words, and not as many tags of 'x'",
    ),
    "a sentence too many": (Tagger, [["a"], ["b"]], [["A"]], "2 sentences, and tags of 1"),
    "no examples": (Tagger, [], [], "too few"),
    "no words": (Classifier, ["a", " "], ["x", "y"], "text 2 has no words"),
    "a label too few": (Classifier, ["a", "b"], ["x"], "2 texts, and 1 labels"),
    "a number for a label": (Classifier, ["a", "b"], ["x", 1], "label of text 2 is 1"),
}


@pytest.mark.parametrize("case", PYTHON)
def test_bad_examples_in_python(case):
    kind, inputs, labels, why = PYTHON[case]
    with pytest.raises(ValueError, match=why):
        kind(quiet=True).fit(inputs, labels)


def test_a_pipe_that_is_no_text(here, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8"))
    with pytest.raises(SystemExit):
        cli.main(["predict", "tagger"])
    assert "utf-8" in capsys.readouterr().err
