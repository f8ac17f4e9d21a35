"""Taggers and classifiers, from files to labels."""

import io
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from statewise import cli
from statewise.training import averaging, labelled, loop
from statewise.training.classifier import Classifier
from statewise.training.configuration import Tagged
from statewise.training.label_report import write_label_report
from statewise.training.labels import LabelLessons
from statewise.training.report import write_report
from statewise.training.runs import checkpoint
from statewise.training.tagger import Tagger, read_tagged
from tests.training.small_labels import (
    SMALL,
    columns,
    conllu,
    conversations,
    sentences,
    talks,
    texts,
)
from tests.training.test_resume import contents

MODEL = {
    "hidden": 16,
    "dropout": 0.1,
    "words": {"dim": 16, "grams": 8, "buckets": 200, "character_features": 16, "minimum": 1},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with files and a run of each kind."""
    folder = tmp_path_factory.mktemp("labels")
    for name, count in (("train", 300), ("dev", 40), ("test", 40)):
        found = sentences(count, seed=count + len(name))
        (folder / f"{name}.conllu").write_text(conllu(found))
        (folder / f"{name}.txt.conll").write_text(columns(found))
        (folder / f"{name}.csv").write_text(texts(found))
    for kind, ending in (("pos", "conllu"), ("spans", "txt.conll"), ("about", "csv")):
        train = "classifier" if kind == "about" else "tagger"
        files = " ".join(
            f"--data.{name} {folder / name}.{ending}" for name in ("train", "dev", "test")
        )
        cli.main(f"train {train} {files} --out {folder / kind} --max_epochs 4 {SMALL}".split())
    return folder


def scores(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {name: value for line in lines for name, value in line.items() if "test_" in name}


def test_they_learn(trained):
    assert scores(trained / "pos")["test_accuracy"] > 0.98
    assert scores(trained / "spans")["test_f1"] > 0.95
    assert scores(trained / "about")["test_accuracy"] > 0.95


def test_what_was_found_out_is_written_down(trained):
    log = (trained / "spans/train.log").read_text()
    assert "the tags are spans in BIO" in log
    assert "columns are divided by spaces" in log
    assert "cells runs on native" in log


def run(capsys, line):
    cli.main(line.split())
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_prediction_from_standard_input(trained, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Uma left Paris.\n\nBo Li saw Ulm.\n"))
    out = run(capsys, f"predict {trained / 'spans'} --confidence")
    one, empty, two = out.removesuffix("\n\n").replace("\n\n\n", "\n\n\0\n\n").split("\n\n")
    rows = [line.split("\t") for line in one.splitlines()]
    assert [row[:2] for row in rows] == [
        *(["Uma", "B-PER"], ["left", "O"], ["Paris", "B-LOC"], [".", "O"]),
    ]
    assert all(0.5 < float(row[2]) <= 1 for row in rows)
    assert empty == "\0"
    assert two.startswith("Bo\tB-PER")


def test_prediction_from_files(trained, capsys, tmp_path):
    out = run(capsys, f"predict {trained / 'pos'} {trained / 'test.conllu'} --json")
    wanted = sentences(40, seed=44)
    for line, (words, tags, _, _) in zip(out.splitlines(), wanted, strict=True):
        said = json.loads(line)
        assert said["words"] == words
        assert said["tags"] == tags
    (tmp_path / "new.txt").write_text("Uma left Paris.\n")
    assert run(capsys, f"predict {trained / 'about'} {tmp_path / 'new.txt'}") == (
        "leaving\tUma left Paris.\n"
    )
    out = run(capsys, f"predict {trained / 'about'} {trained / 'test.csv'} --confidence --json")
    assert len(out.splitlines()) == 40
    assert set(json.loads(out.splitlines()[0])) == {"text", "label", "confidence"}


def test_evaluation_agrees_with_the_run(trained, capsys):
    for kind, name in (("pos", "accuracy"), ("spans", "f1"), ("about", "accuracy")):
        said = json.loads(run_with_notes(capsys, f"evaluate {trained / kind} --json"))
        assert said[name] == scores(trained / kind)[f"test_{name}"]
        assert said["path"].startswith(str(trained / "test"))
        assert sum(count for *_, count in said["confusion"]) >= 40


def run_with_notes(capsys, line):
    cli.main(line.split())
    return capsys.readouterr().out


def test_evaluation_prints_classes_and_confusions(trained, capsys):
    said = run_with_notes(
        capsys, f"evaluate {trained / 'spans'} --data.path {trained / 'dev'}.txt.conll"
    )
    assert "precision" in said
    assert "PER" in said
    assert "wanted" in said.split("macro F1")[1]


def test_evaluation_says_whether_confidence_is_deserved(trained, capsys):
    said = run_with_notes(capsys, f"evaluate {trained / 'pos'}")
    assert "expected calibration error 0." in said
    assert said.rstrip().endswith("words")
    (found,) = labelled.evaluate(trained / "pos", None, labelled.Asked())
    tagger = Tagger.load(trained / "pos")
    words, tags = zip(*((words, tags) for words, tags, _, _ in sentences(40, seed=44)), strict=True)
    sure = [p.amax(1) for p in tagger.predict_proba(words)]
    assert len(found.said) == sum(map(len, words))
    # Each word's likeliest tag is nearly always on the best path.
    assert found.calibration.confidence == pytest.approx(torch.cat(sure).mean().item(), abs=1e-3)
    right = [
        one == two
        for wanted, got in zip(tags, tagger.predict(words), strict=True)
        for one, two in zip(wanted, got, strict=True)
    ]
    assert [each.right for each in found.said] == right


def test_words_in_spans_are_judged_in_the_scheme_of_the_model(trained, tmp_path):
    # The same spans in another scheme are the same labels.
    lines = (trained / "test.txt.conll").read_text().splitlines()
    renamed = [
        line.replace(" I-", " M-") if " I-" in line and after.split(" ")[-1].startswith("I-")
        else line.replace(" I-", " E-") if " I-" in line
        else line.replace(" B-", " S-") if not after.split(" ")[-1].startswith("I-")
        else line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
    ]  # fmt: skip
    (tmp_path / "bmes.conll").write_text("\n".join(renamed) + "\n")
    (one,) = labelled.evaluate(trained / "spans", None, labelled.Asked())
    (two,) = labelled.evaluate(trained / "spans", str(tmp_path / "bmes.conll"), labelled.Asked())
    assert one.value == two.value
    assert one.said == two.said
    assert {"B-PER", "I-PER", "O"} <= {each.found for each in one.said}


@pytest.mark.parametrize("kind", ["pos", "spans", "about"])
def test_the_page_of_an_evaluation(trained, capsys, tmp_path, kind):
    out = tmp_path / "<found> & lost.html"
    (found,) = labelled.evaluate(trained / kind, None, labelled.Asked())
    page = write_label_report([found], out).read_text()
    assert f"{100 * found.value:.2f}" in page
    for name, score in found.scores.items():
        assert f"<td>{name}</td>" in page.replace("\n", "")
        assert f"{score.percent()[2]:.2f}" in page
    assert "src=" not in page
    assert "href=" not in page
    parser = HTMLParser()
    parser.feed(page)
    (drawn,) = re.findall("<svg.*</svg>", page, re.S)
    ElementTree.fromstring(drawn)


def test_the_page_shows_the_surest_mistakes_first(trained, tmp_path):
    # Of a file whose labels are exchanged, all is wrong.
    text = (trained / "test.csv").read_text()
    swapped = (
        text.replace(",leaving", ",?").replace(",staying", ",leaving").replace(",?", ",staying")
    )
    (tmp_path / "wrong.csv").write_text(swapped.replace("Paris", "<b>Paris"))
    (found,) = labelled.evaluate(trained / "about", str(tmp_path / "wrong.csv"), labelled.Asked())
    assert found.value < 0.1
    page = write_label_report([found], tmp_path / "page.html").read_text()
    assert "<b>" not in page
    assert "&lt;" in page
    shown = re.findall(r"<td>(0\.\d{4}|1\.0000)</td>", page.replace("\n", ""))
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 20
    assert "rgba(194, 65, 12" in page  # what attention looks at


def test_attention_is_a_share_of_every_word(trained):
    model = Classifier.load(trained / "about").model_
    (shares,) = model.attention(["Uma left Le Havre"])
    assert shares.shape == (4,)
    assert shares.sum().item() == pytest.approx(1)
    assert model.attention([[]])[0].shape == (0,)
    plain = type(model)(
        model.config.model_copy(update={"pooling": ["max", "mean"]}), model.vocabulary
    )
    with pytest.raises(ValueError, match="no attention: its pooling is max, mean"):
        plain.attention(["Uma"])


def test_a_saved_tagger_is_one_line_away(trained):
    tagger = Tagger.load(trained / "spans")
    (tags,) = tagger.predict([["Uma", "left", "Le", "Havre"]])
    assert tags == ("B-PER", "O", "B-LOC", "I-LOC")
    (sure,) = tagger.predict_proba([["Uma", "left", "Le", "Havre"]])
    assert sure.shape == (4, len(tagger.labels_))


def test_fit_predict_score(tmp_path):
    found = sentences(120)
    words, spans = [words for words, *_ in found], [spans for _, _, spans, _ in found]
    fast = {"model": MODEL, "max_epochs": 4, "batch": 8, "quiet": True}
    fast["optimizer"] = {"learning_rate": 0.02}
    tagger = Tagger(**fast)
    assert tagger.fit(words, spans, out=tmp_path / "run") is tagger
    assert tagger.score(words, spans) > 0.9
    tagger.save(tmp_path / "model")
    assert Tagger.load(tmp_path / "model").predict(words) == tagger.predict(words)
    assert Tagger.load(tmp_path / "run").predict(words) == tagger.predict(words)
    about = [about for *_, about in found]
    strings = [" ".join(some) for some in words]
    classifier = Classifier(**fast).fit(strings, about)
    assert classifier.score(strings, about) > 0.9
    assert len(classifier.predict_proba(strings)[0]) == 2


def test_the_parameters_of_an_estimator():
    tagger = Tagger(max_epochs=3)
    assert tagger.get_params() == {"max_epochs": 3}
    assert tagger.set_params(batch=4).get_params() == {"max_epochs": 3, "batch": 4}
    assert repr(tagger) == "Tagger(max_epochs=3, batch=4)"
    with pytest.raises(ValueError, match="Tagger: max_epoch: Extra inputs are not permitted"):
        Tagger(max_epoch=3)
    with pytest.raises(ValueError, match="has learned nothing yet: fit it, or load"):
        tagger.predict([["a"]])


class Stopped(Exception):
    """What the command line does not catch."""


HELD = {
    "sparse": "--sparsity.share 0.6 --sparsity.step 3",
    "constraint": "--constraint.only *weight_hh* --constraint.rate 0.5 --constraint.limit 0.5",
    "average": "--optimizer.method sgd --optimizer.average_after 1 --evaluation.steps 2",
    "noise": "--optimizer.gradient_noise 0.1",
}
"""What is done to weights, whatever is learned."""


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        *(("tagger", None), ("classifier", None), ("joint", None), ("conversation", None)),
        *(("tagger", held) for held in HELD),
    ],
)
def test_a_run_in_two_halves_is_the_run_in_one(tmp_path, monkeypatch, kind, held):
    monkeypatch.setattr(averaging, "triggered", lambda before, now, n: len(before) == n)
    (tmp_path / "x.conllu").write_text(conllu(sentences(64)))
    (tmp_path / "x.csv").write_text(texts(sentences(64)))
    (tmp_path / "x.jsonl").write_text(several(sentences(64)))
    (tmp_path / "talks.csv").write_text(talks(conversations(64)))
    kind, options = {
        "tagger": ("tagger", "x.conllu"),
        "classifier": ("classifier", "x.csv"),
        "joint": ("tagger", "x.jsonl --data.column [pos,ner] --data.label about"),
        "conversation": ("classifier", "talks.csv --data.conversation talk"),
    }[kind]
    line = f"train {kind} --data.train {tmp_path}/{options} --max_steps 12 --batch 8 "
    line += f"{SMALL} "
    line += "--checkpoints.steps 5 --model.words.drop 0.3 " + HELD.get(held, "")
    cli.main(f"{line} --out {tmp_path / 'a'}".split())

    whole = LabelLessons.backward

    def backward(self, wrapped, done, processes):
        if done.step == 5:
            raise Stopped
        return whole(self, wrapped, done, processes)

    with monkeypatch.context() as patch:
        patch.setattr(LabelLessons, "backward", backward)
        with pytest.raises(Stopped):
            cli.main(f"{line} --out {tmp_path / 'b'}".split())
    assert checkpoint(tmp_path / "b", "last").name == "step-5"
    cli.main(f"train {kind} --config {tmp_path / 'b'}/config.yaml --resume --quiet".split())
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    kinds = {"sparse": "mask/", "constraint": "multiplier/", "average": "average/"}
    for name, prefix in kinds.items():
        assert any(prefix in found for found in one) == (held == name)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    # The comparison can fail: another seed is another run.
    cli.main(f"{line} --out {tmp_path / 'c'} --seed 1".split())
    third = contents(tmp_path / "c")
    assert not all(torch.equal(one[name], third[name]) for name in one)


def test_equal_compute_ends_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "median", lambda rates: 800.0)
    (tmp_path / "x.csv").write_text(texts(sentences(64)))
    cli.main(
        f"train classifier --data.train {tmp_path / 'x.csv'} --out {tmp_path / 'run'} "
        f"--equal_compute 1 {SMALL}".split()
    )
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["why"] for line in lines if line.get("event") == "equal compute"] == [
        "800 words, at 800 per second"
    ]
    assert 800 <= max(line["tokens"] for line in lines if "tokens" in line) < 900


def test_patience_ends_a_run_early(tmp_path):
    (tmp_path / "x.csv").write_text(texts(sentences(40)))
    cli.main(
        f"train classifier --data.train {tmp_path / 'x.csv'} --out {tmp_path / 'run'} "
        f"--max_epochs 40 --evaluation.patience 2 {SMALL}".split()
    )
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert [line["event"] for line in lines if "event" in line] == ["stopped early"]


def test_tags_that_break_their_scheme_are_put_right(tmp_path):
    words, tags = (
        [["Uma", "Li", "ran"]] * 20,
        [["I-PER", "I-PER", "O"], ["B-PER", "I-PER", "O"]] * 10,
    )
    tagger = Tagger(model=MODEL, max_epochs=1, quiet=True, data={"scheme": "BIO"}).fit(
        words, tags, out=tmp_path / "run"
    )
    assert tagger.labels_ == ("B-PER", "I-PER", "O")
    log = (tmp_path / "run/train.log").read_text()
    assert "were put right, as BIO has the same spans" in log


def test_vectors_are_what_words_begin_with(tmp_path):
    (tmp_path / "v.txt").write_text("left 1 2 3\nParis 4 5 6\nunseen 7 8 9\n")
    found = sentences(40)
    words, tags = [words for words, *_ in found], [tags for _, tags, *_ in found]
    tagger = Tagger(
        model=MODEL,
        vectors=str(tmp_path / "v.txt"),
        max_steps=1,
        quiet=True,
        optimizer={"learning_rate": 1e-9, "weight_decay": 0.0},
    ).fit(words, tags)
    encoder, vocabulary = tagger.model_.encoder.words, tagger.model_.vocabulary
    assert tagger.model_.config.encoder.words.dim == 3
    for word, vector in (("left", [1, 2, 3]), ("unseen", [7, 8, 9])):
        place = 2 + vocabulary.words.index(word)
        torch.testing.assert_close(
            encoder.embedding.weight[place].detach(),
            torch.tensor(vector).float(),
            atol=1e-4,
            rtol=0,
        )


@pytest.mark.parametrize("language", ["Chinese", "Arabic", "Emoji"])
def test_any_script(language):
    words = {
        "Chinese": ["我", "去", "巴黎"],
        "Arabic": ["ذهبت", "إلى", "باريس"],
        "Emoji": ["👩‍👩‍👧", "❤️", "paris"],
    }[language]
    tagger = Tagger(
        model=MODEL, max_epochs=5, batch=2, quiet=True, optimizer={"learning_rate": 0.03}
    ).fit([words] * 8, [["P", "V", "N"]] * 8)
    assert tagger.predict([words]) == [("P", "V", "N")]


def test_its_folder_says_how_to_predict(trained, tmp_path, capsys):
    cli.main(
        f"train classifier --data.train {trained / 'dev.csv'} --out {tmp_path / 'run'} "
        f"--max_epochs 1 {SMALL.replace('--quiet', '')}".split()
    )
    said = capsys.readouterr()
    assert f"next: statewise predict {tmp_path / 'run'}" in said.out
    assert "held out accuracy" in said.out
    assert "bits/text" in said.err
    assert Path(tmp_path / "run/config.yaml").exists()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("pos", "A tagger that reads with lstm layers"),
        ("spans", "F1: the mean of the share of spans"),
        ("about", "A classifier that reads with lstm layers"),
    ],
)
def test_its_report_says_what_was_trained(trained, kind, sentence):
    pytest.importorskip("matplotlib")
    _, page = write_report(trained / kind)
    assert sentence in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["tagger", "classifier"])
def test_its_options_are_shown(capsys, kind):
    with pytest.raises(SystemExit):
        cli.main(["train", kind, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for option in ("--data.train", "--model.words.dim", "--optimizer.learning_rate"):
        assert option in said


def test_boundaries_of_words_are_learned_from_any_file_of_words(tmp_path, capsys):
    lines = ["同樣 。 施力 的 大小", "大小 不同 。", "的 施力 2003 年"] * 20
    rows = "".join("".join(f"{word} X\n" for word in line.split()) + "\n" for line in lines)
    (tmp_path / "words.txt.conll").write_text(rows)
    cli.main(
        f"train tagger --data.train {tmp_path / 'words.txt.conll'} --data.column boundaries "
        f"--out {tmp_path / 'run'} --max_epochs 8 {SMALL}".split()
    )
    (tmp_path / "new.txt").write_text("大小的施力不同2003年\n")
    said = run(capsys, f"predict {tmp_path / 'run'} {tmp_path / 'new.txt'}")
    found = " ".join(line.replace("\t", "") for line in said.splitlines() if line)
    assert found == "大B 小E 的S 施B 力E 不B 同E 2003S 年S"


def test_a_fault_in_characters_names_the_line_of_their_word(tmp_path):
    (tmp_path / "w.conll").write_text("大小 X\n的 X\n")
    gold = read_tagged(tmp_path / "w.conll", Tagged(train="", column="boundaries"))
    assert gold.sentences == [("大", "小", "的")]
    assert [gold.place(0, at).rsplit(":", 1)[1] for at in range(3)] == ["1", "1", "2"]


def several(found):
    """Return sentences with two kinds of tags and a class, as JSON lines."""
    return "".join(
        json.dumps({"words": words, "pos": tags, "ner": spans, "about": about}) + "\n"
        for words, tags, spans, about in found
    )


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    """A folder with files and a run of three heads."""
    folder = tmp_path_factory.mktemp("joint")
    for name, count in (("train", 300), ("test", 40)):
        (folder / f"{name}.jsonl").write_text(several(sentences(count, seed=count)))
    files = f"--data.train {folder}/train.jsonl --data.test {folder}/test.jsonl"
    line = f"train tagger {files} --data.column [pos,ner] --data.label about"
    line += f" --output [softmax,crf] --out {folder}/run --max_epochs 4 {SMALL}"
    cli.main(line.split())
    return folder


def test_several_heads_learn_together(joint):
    found = scores(joint / "run")
    assert found.keys() == {"test_pos_accuracy", "test_ner_f1", "test_about_accuracy", "test_score"}
    assert min(found.values()) > 0.95
    mean = sum(value for name, value in found.items() if name != "test_score") / 3
    assert found["test_score"] == pytest.approx(mean)
    heads = labelled.load(joint / "run").heads
    assert heads["pos"].crf is None
    assert heads["ner"].crf is not None


def test_several_heads_are_written_side_by_side(joint, capsys, tmp_path):
    (tmp_path / "new.txt").write_text("Uma left Paris.\n")
    said = run(capsys, f"predict {joint / 'run'} {tmp_path / 'new.txt'}")
    assert said == (
        "# about = leaving\nUma\tPROPN\tB-PER\nleft\tVERB\tO\nParis\tPROPN\tB-LOC\n.\tPUNCT\tO\n\n"
    )
    said = run(capsys, f"predict {joint / 'run'} {tmp_path / 'new.txt'} --confidence")
    assert [len(line.split("\t")) for line in said.splitlines()] == [2, 5, 5, 5, 5, 1]
    line = f"predict {joint / 'run'} {joint / 'test.jsonl'} --confidence --json"
    rows = [json.loads(line) for line in run(capsys, line).splitlines()]
    assert rows[0].keys() == {"words", "pos", "ner", "about", "confidence"}
    assert len(rows[0]["confidence"]["ner"]) == len(rows[0]["words"])
    wanted = [words for words, *_ in sentences(40, seed=40)]
    assert [row["words"] for row in rows] == wanted


def test_every_head_is_evaluated(joint, capsys, tmp_path):
    line = f"evaluate {joint / 'run'} --json --html {tmp_path / 'page.html'}"
    said = json.loads(run_with_notes(capsys, line))
    found = scores(joint / "run")
    assert said["heads"]["pos"]["accuracy"] == found["test_pos_accuracy"]
    assert said["heads"]["ner"]["f1"] == found["test_ner_f1"]
    assert said["heads"]["about"]["accuracy"] == found["test_about_accuracy"]
    page = (tmp_path / "page.html").read_text()
    assert [name for name in ("pos", "ner", "about") if f"How the head {name} labels" in page] == [
        *("pos", "ner", "about")
    ]
    text = run_with_notes(capsys, f"evaluate {joint / 'run'}")
    assert "test.jsonl: about" in text


def test_several_heads_in_python(tmp_path):
    found = sentences(120)
    words = [words for words, *_ in found]
    labels = [{"pos": tags, "about": about} for _, tags, _, about in found]
    fast = {"optimizer": {"learning_rate": 0.02}, "max_epochs": 4, "batch": 8, "quiet": True}
    tagger = Tagger(model=MODEL, **fast).fit(words, labels)
    assert tagger.score(words, labels) > 0.9
    assert tagger.labels_["about"] == ("leaving", "staying")
    one = tagger.predict(words[:1])[0]
    assert one.keys() == {"pos", "about"}
    assert len(tagger.predict_proba(words[:1])[0]["pos"]) == len(words[0])
    tagger.save(tmp_path / "model")
    again = Tagger.load(tmp_path / "model")
    assert again.predict(words) == tagger.predict(words)
    # One head is a tagger of its own.
    again.model_.heads["pos"].save_pretrained(tmp_path / "pos")
    alone = Tagger.load(tmp_path / "pos")
    assert alone.predict(words) == [said["pos"] for said in tagger.predict(words)]
    with pytest.raises(ValueError, match=r"one head tags a stream: take one of model_\.heads, pos"):
        next(tagger.stream(["Uma"]))
    with pytest.raises(ValueError, match="holds a joint_tagger, not a classifier"):
        Classifier.load(tmp_path / "model")


def test_features_tell_what_words_do_not(tmp_path, capsys):
    # Who is named is told by the number beside the word alone.
    draw = random.Random(0)
    found = []
    for _ in range(120):
        row = [(draw.choice("abcdef"), draw.choice(["Sing", "Plur"])) for _ in range(5)]
        found.append(
            [(word, f"Case=Nom|Number={n}", "N" if n == "Plur" else "O") for word, n in row]
        )
    block = "".join(
        "".join(
            f"{at}\t{w}\t_\t{tag}\t_\t{f}\t0\t_\t_\t_\n" for at, (w, f, tag) in enumerate(row, 1)
        )
        + "\n"
        for row in found
    )
    (tmp_path / "x.conllu").write_text(block)
    line = f"train tagger --data.train {tmp_path}/x.conllu --max_epochs 3 {SMALL}"
    cli.main(f"{line} --out {tmp_path}/with --data.features [feats]".split())
    cli.main(f"{line} --out {tmp_path}/without".split())
    said = [
        json.loads(
            run(capsys, f"evaluate {tmp_path}/{name} --json --data.path {tmp_path}/x.conllu")
        )
        for name in ("with", "without")
    ]
    assert said[0]["accuracy"] > 0.99
    assert said[1]["accuracy"] < 0.8
    rows = run(capsys, f"predict {tmp_path}/with {tmp_path}/x.conllu").split("\n\n")
    assert rows[0].splitlines() == [f"{word}\t{tag}" for word, _, tag in found[0]]
    with pytest.raises(SystemExit):
        cli.main(["predict", f"{tmp_path}/with"])
    assert "-: this tagger reads feats beside the words" in capsys.readouterr().err
    # In Python alike; features that nobody named are numbered.
    words = [[(word, feature) for word, feature, _ in row] for row in found]
    tags = [[tag for *_, tag in row] for row in found]
    loaded = Tagger.load(tmp_path / "with")
    assert loaded.score(words, tags) > 0.99
    fresh = Tagger(model=MODEL, max_epochs=1, quiet=True).fit(words, tags)
    assert list(fresh.model_.vocabulary.features) == ["feature 1"]


def test_several_models_are_asked_together(trained, capsys, tmp_path):
    spelled = f"{SMALL} --model.words.dim 0"  # of characters alone
    line = f"train classifier --data.train {trained}/train.csv --out {tmp_path}/letters {spelled}"
    cli.main(f"{line} --max_epochs 1".split())
    files = f"{trained}/about {trained}/test.csv --beside {tmp_path}/letters"
    rows = run(capsys, f"predict {files} --confidence --json").splitlines()
    both = [Classifier.load(folder) for folder in (trained / "about", tmp_path / "letters")]
    texts_ = [json.loads(row)["text"] for row in rows]
    each = [classifier.predict_proba(texts_) for classifier in both]
    for row, one, two in zip(rows, *each, strict=True):
        mean = (one + two) / 2
        said = json.loads(row)
        assert said["label"] == both[0].labels_[int(mean.argmax())]
        assert said["confidence"] == pytest.approx(float(mean.max()))
    found = json.loads(
        run_with_notes(capsys, f"evaluate {trained}/about --json --beside {tmp_path}/letters")
    )
    assert found["accuracy"] > 0.9
    for line, why in (
        (f"predict {trained}/about --beside {trained}/pos", "model 2 is a tagger"),
        (f"predict {trained}/pos --beside {trained}/pos --stream", "one model tags words as they"),
    ):
        with pytest.raises(SystemExit):
            cli.main(line.split())
        assert why in capsys.readouterr().err
