"""Classifiers of the texts of conversations, from files to labels."""

import io
import json

import pytest
import torch

from statewise import cli
from statewise.training import labelled
from statewise.training.classifier import Classifier, read_classified
from statewise.training.configuration import Classified
from statewise.training.label_report import write_label_report
from tests.training.small_labels import SMALL, conversations, talks
from tests.training.test_labels import MODEL, run, run_with_notes, scores

TALK = ["hello", "did you go?", "yeah", "yeah", "right, bye"]
KINDS = ("greeting", "question", "answer", "agreement", "closing")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with files and a run that reads conversations from their beginning."""
    folder = tmp_path_factory.mktemp("talks")
    for name, count in (("train", 200), ("test", 40)):
        (folder / f"{name}.csv").write_text(talks(conversations(count, seed=count)))
    line = f"train classifier --data.train {folder}/train.csv --data.test {folder}/test.csv {SMALL}"
    line += " --data.conversation talk --conversation.both_ways false --conversation.hidden 16"
    cli.main(f"{line} --conversation.dropout 0 --max_epochs 6 --out {folder}/run".split())
    return folder


def test_what_stands_before_a_text_tells_what_it_is_for(trained):
    assert scores(trained / "run")["test_accuracy"] > 0.97
    # One by one, nothing does.
    flat = [
        (text, kind)
        for texts, kinds in conversations(200, seed=200)
        for text, kind in zip(texts, kinds, strict=True)
    ]
    options = {"optimizer": {"learning_rate": 0.01}, "max_epochs": 3, "batch": 32, "quiet": True}
    alone = Classifier(model=MODEL, **options).fit(*map(list, zip(*flat, strict=True)))
    flat_score = alone.score(*map(list, zip(*flat, strict=True)))
    assert flat_score < scores(trained / "run")["test_accuracy"] - 0.05


def test_prediction(trained, capsys, monkeypatch, tmp_path):
    text = "\n".join(TALK) + "\n\nhello\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    rows = "".join(f"{kind}\t{said}\n" for kind, said in zip(KINDS, TALK, strict=True))
    expected = f"{rows}\ngreeting\thello\n\n"
    assert run(capsys, f"predict {trained}/run") == expected
    (tmp_path / "new.txt").write_text(text)
    assert run(capsys, f"predict {trained}/run {tmp_path}/new.txt") == expected
    said = run(capsys, f"predict {trained}/run {tmp_path}/new.txt --confidence")
    assert all(0.3 < float(line.split("\t")[1]) <= 1 for line in said.split("\n") if line)
    line = f"predict {trained}/run {trained}/test.csv --data.conversation talk --json --confidence"
    found = [json.loads(row) for row in run(capsys, line).splitlines()]
    wanted = conversations(40, seed=40)
    assert [each["texts"] for each in found] == [texts for texts, _ in wanted]
    right = [each["labels"] == kinds for each, (_, kinds) in zip(found, wanted, strict=True)]
    assert sum(right) > 36
    assert len(found[0]["confidence"]) == len(found[0]["texts"])


def test_prediction_while_it_goes_on(trained):
    model = labelled.load(trained / "run")
    text = "\n".join(TALK) + "\n\nhello"
    for pieces in ([text], list(text)):
        lines = list(labelled.lines_as_they_arrive(model, pieces, lag=9))
        rows = [f"{kind}\t{said}" for kind, said in zip(KINDS, TALK, strict=True)]
        assert lines == [*rows, "", "greeting\thello", ""]
    # Each text has its class when so many more are there.
    arrived = []

    def arriving():
        for line in TALK:
            arrived.append(line)
            yield line + "\n"

    first = next(labelled.lines_as_they_arrive(model, arriving(), lag=1))
    assert first == "greeting\thello"
    assert len(arrived) == 2


def test_evaluation(trained, capsys, tmp_path):
    said = json.loads(run_with_notes(capsys, f"evaluate {trained}/run --json"))
    assert said["accuracy"] == scores(trained / "run")["test_accuracy"]
    assert set(said["labels"]) == {*KINDS, "statement"}
    (found,) = labelled.evaluate(trained / "run", None, labelled.Asked())
    assert len(found.said) == sum(len(texts) for texts, _ in conversations(40, seed=40))
    # Of a file whose labels are exchanged, mistakes stand in their conversations.
    text = (trained / "test.csv").read_text().replace(",question\n", ",statement\n")
    (tmp_path / "wrong.csv").write_text(text)
    (wrong,) = labelled.evaluate(trained / "run", f"{tmp_path}/wrong.csv", labelled.Asked())
    page = write_label_report([wrong], tmp_path / "page.html").read_text()
    assert "over 40 conversations" in page
    assert "<strong>did you go ? /</strong>" in page
    assert wrong.gold.place(0, 1) == f"{tmp_path}/wrong.csv:3"


def test_fit_predict_score_stream(tmp_path):
    texts, kinds = map(list, zip(*conversations(120), strict=True))
    reading = {"hidden": 16, "dropout": 0.0, "both_ways": False}
    classifier = Classifier(
        model=MODEL, conversation=reading, output="softmax", max_epochs=6, batch=8, quiet=True,
        optimizer={"learning_rate": 0.02},
    )  # fmt: skip
    classifier.fit([*texts, []], [*kinds, []], dev=(texts[:20], kinds[:20]), out=tmp_path / "run")
    assert classifier.score(texts, kinds) > 0.95
    assert classifier.predict([TALK]) == [KINDS]
    assert classifier.predict_proba([TALK])[0].shape == (5, len(classifier.labels_))
    assert list(classifier.stream(TALK)) == list(zip(TALK, KINDS, strict=True))
    classifier.save(tmp_path / "model")
    for folder in ("model", "run"):
        assert Classifier.load(tmp_path / folder).predict(texts) == classifier.predict(texts)
    # Its encoder may be what another begins with, and the other way round.
    alone = Classifier(start=str(tmp_path / "model"), max_steps=1, quiet=True)
    alone.fit(["it is cold", "yeah"] * 9, ["x", "y"] * 9).save(tmp_path / "alone")
    again = Classifier(start=str(tmp_path / "alone"), max_steps=1, quiet=True).fit(texts, kinds)
    assert again.model_.kind == "conversation_classifier"
    with pytest.raises(ValueError, match="this classifier reads texts one by one: predict them"):
        alone.stream(TALK)
    with pytest.raises(ValueError, match="reads texts one by one, and these stand in"):
        alone.score(texts, kinds)
    with pytest.raises(ValueError, match="reads texts in conversations, and these stand in none"):
        classifier.score(["yeah"], ["answer"])


@pytest.mark.parametrize(
    ("inputs", "labels", "why"),
    [
        ([["a", "b"]], [["x"]], "conversation 1 should be a list of texts, with as many labels"),
        (["a b", ["c"]], [["x", "y"], ["x"]], "conversation 1 should be a list of texts"),
        ([["a"], ["b"]], [["x"], "y"], "conversation 2 should be a list of texts"),
        ([["a"], ["b", " "]], [["x"], ["x", "y"]], "conversation 2: text 2 has no words"),
        ([["a"], ["b"]], [["x"], [1]], "conversation 2: the label of text 1 is 1, and no string"),
        ([["a"]] * 20, [["x"]] * 20, "all texts to train on have one label, 'x'"),
    ],
)
def test_bad_conversations_in_python(inputs, labels, why):
    with pytest.raises(ValueError, match=why):
        Classifier(quiet=True).fit(inputs, labels)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "tsv"])
def test_conversations_are_read_from_any_file(tmp_path, ending):
    rows = [("b", "hi", "x"), ("a", "yes", "y"), ("b", "no", "x")]
    path = tmp_path / f"talks.{ending}"
    columns: dict[str, str | int] = {"text": "text", "label": "label", "conversation": "talk"}
    if ending == "jsonl":
        keys = ("talk", "text", "label")
        lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
        first = 1
    else:
        between = {"csv": ",", "tsv": "\t"}[ending]
        lines = [between.join(row) for row in (("talk", "text", "label"), *rows)]
        first = 2
    path.write_text("\n".join(lines) + "\n")
    gold = read_classified(path, Classified.model_validate({"train": "", **columns}))
    assert gold.sentences == [(("hi",), ("no",)), (("yes",),)]
    assert gold.labels == [("x", "x"), ("y",)]
    assert gold.place(0, 1) == f"{path}:{first + 2}"
    assert gold.notes == (f"{path}: some conversations stand in pieces, 1 more than there are",)


def test_what_is_wrong_with_files_of_conversations(trained, capsys, tmp_path):
    file = trained / "test.csv"
    (tmp_path / "empty.csv").write_text("talk,text,label\n1,a,x\n,b,y\n")
    labelled.load(trained / "run").save_pretrained(tmp_path / "model")
    train = f"train classifier --data.train {file} --out {tmp_path}/new {SMALL}"
    for line, why in (
        (f"{train} --data.conversation who", "there should be one column 'who'; there are talk"),
        (
            f"{train} --conversation.hidden 9",
            "the column that tells these apart with --data.conv",
        ),
        (f"{train} --output softmax", "name the column that tells these apart"),
        (f"{train} --data.conversation talk --conversation.mixer lsmt", "did you mean 'lstm'"),
        (
            f"{train} --data.conversation talk --data.train {tmp_path}/empty.csv",
            "empty.csv:3: the conversation is empty",
        ),
        (f"evaluate {tmp_path}/model --data.path {file}", "with --data.conversation"),
        (f"predict {trained}/run {file}", "there should be one column 'conversation'"),
        (f"evaluate {trained}/run --data.path {file} --data.column 1", "--data.column is not for"),
    ):
        with pytest.raises(SystemExit):
            cli.main(line.split())
        said = capsys.readouterr().err
        assert why in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "new").exists()
    said = run(capsys, f"evaluate {tmp_path}/model --data.path {file} --data.conversation talk")
    assert "accuracy" in said


def test_texts_of_conversations_may_be_conditioned_on_a_lexicon(tmp_path):
    (tmp_path / "l.tsv").write_text("yeah\t1 0\nright\t1 0\ndid\t0 1\nis\t0 1\n")
    texts, kinds = map(list, zip(*conversations(40), strict=True))
    classifier = Classifier(
        model=MODEL, lexicon=str(tmp_path / "l.tsv"), condition="affine", max_epochs=1, quiet=True
    ).fit(texts, kinds)
    assert classifier.model_.config.condition == "affine"
    classifier.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model").predict_proba(texts)
    pairs = zip(classifier.predict_proba(texts), again, strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
