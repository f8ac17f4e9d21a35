"""Columns that are written letter by letter: learned beside tags, predicted, scored, shown."""

import json
import random

import pytest
from small_labels import SMALL

from statewise import cli
from statewise.training import labelled
from statewise.training.tagger import Tagger

STEMS = [a + b + c for a in ("b", "gr", "t") for b in ("a", "i", "o") for c in ("d", "ll", "mp")]


def sentences(count, seed=0):
    """Return words, tags and lemmas: `saw` is the saw or of see, as what stands before it says."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        one, two = draw.sample(STEMS, 2)
        many = draw.random() < 0.5
        found.append(
            (
                ["The", "saw", one + "ed", two + "s" if many else two, "."],
                ["DET", "NOUN", "VERB", "NOUN", "PUNCT"],
                ["the", "saw", one, two, "."],
            )
            if draw.random() < 0.5
            else (
                ["We", "saw", one + "s" if many else one, "."],
                ["PRON", "VERB", "NOUN", "PUNCT"],
                ["we", "see", one, "."],
            )
        )
    return found


def conllu(found):
    """Return them as CoNLL-U."""
    blocks = []
    for rows in found:
        lines = enumerate(zip(*rows, strict=True), 1)
        blocks.append(
            "".join(f"{n}\t{w}\t{lemma}\t{t}\t_\t_\t0\t_\t_\t_\n" for n, (w, t, lemma) in lines)
        )
    return "\n".join(blocks) + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with files, and a run that learned tags and lemmas."""
    folder = tmp_path_factory.mktemp("spelled")
    for name, count, seed in (("train", 200, 0), ("test", 40, 1)):
        (folder / f"{name}.conllu").write_text(conllu(sentences(count, seed)))
    line = f"train tagger --data.train {folder}/train.conllu --data.test {folder}/test.conllu"
    line += f" --data.spelled [lemma] --writing.letters 16 --out {folder}/run --max_steps 120"
    cli.main(f"{line} --output softmax {SMALL}".split())
    return folder


def asked(capsys, line):
    capsys.readouterr()
    cli.main(line.split())
    return capsys.readouterr().out


def test_what_stands_before_a_word_says_how_it_is_written(run, capsys):
    (run / "new.txt").write_text("The saw grolled .\nWe saw balls .\n")
    said = asked(capsys, f"predict {run}/run {run}/new.txt").splitlines()
    rows = [line.split("\t") for line in said if line]
    assert rows[1] == ["saw", "NOUN", "saw"]
    assert rows[5] == ["saw", "VERB", "see"]
    assert rows[0][2] == "the"
    sure = asked(capsys, f"predict {run}/run {run}/new.txt --confidence --json")
    found = json.loads(sure.splitlines()[0])
    assert found["lemma"][:2] == ["the", "saw"]
    assert all(0 < p <= 1 for p in found["confidence"]["lemma"])


def test_it_is_scored_by_words_that_stay_and_words_that_change(run, capsys):
    page = run / "page.html"
    said = json.loads(asked(capsys, f"evaluate {run}/run --json --html {page}"))
    lemma = said["heads"]["lemma"]
    assert lemma["accuracy"] > 0.95
    assert set(lemma["labels"]) == {"as the word is", "changed"}
    wanted = sum(kind["wanted"] for kind in lemma["labels"].values())
    assert wanted == sum(len(words) for words, _, _ in sentences(40, 1))
    assert "head lemma" in page.read_text()
    assert "changed" in page.read_text()
    assert "changed" in asked(capsys, f"evaluate {run}/run")


def test_the_head_alone_writes_too(run, capsys, tmp_path):
    head = labelled.load(run / "run").heads["lemma"]
    head.save_pretrained(tmp_path / "lemma")
    line = f"evaluate {tmp_path}/lemma --data.path {run}/test.conllu --data.column lemma --json"
    assert json.loads(asked(capsys, line))["accuracy"] > 0.95
    (tmp_path / "new.txt").write_text("We saw\n")
    said = asked(capsys, f"predict {tmp_path}/lemma {tmp_path}/new.txt")
    assert said.splitlines() == ["We\twe", "saw\tsee", ""]


def test_in_python_and_with_words_that_are_not_known():
    data = sentences(30)
    labels = [{"upos": tags, "lemma": [*lemmas[:-1], None]} for _, tags, lemmas in data]
    tagger = Tagger(
        data={"spelled": ["lemma"]}, output="softmax", max_steps=2, quiet=True,
        model={"hidden": 4, "words": {"dim": 4, "grams": 0, "character_features": 4}},
    ).fit([words for words, _, _ in data], labels)  # fmt: skip
    found = tagger.predict([["We", "жук"]])[0]
    assert len(found["lemma"]) == 2
    assert tagger.predict_proba([["We", "жук"]])[0]["lemma"].shape == (2, 1)
    assert 0 <= tagger.score([words for words, _, _ in data], labels) <= 1


def test_what_names_nothing_is_refused(run, tmp_path, capsys):
    with pytest.raises(ValueError, match="spelled names 'lemma', and the labels are of upos"):
        Tagger(data={"spelled": ["lemma"]}, quiet=True).fit([["a"]] * 9, [{"upos": ["X"]}] * 9)
    line = f"train tagger --data.train {run}/train.conllu --out {tmp_path}/run --quiet"
    for options, why in (
        ("--data.spelled [upos]", "upos is tagged already"),
        ("--data.column upos --data.spelled [upos]", "different columns"),
        ("--data.spelled [lemma] --data.features [lemma]", "none that is learned"),
        ("--data.spelled [lemma] --data.column boundaries", "no others"),
        ("--data.spelled [lema]", "lema"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*line.split(), *options.split()])
        assert why in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
