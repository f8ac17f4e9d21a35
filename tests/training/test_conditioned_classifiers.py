"""Classifiers that read a lexicon."""

import re

import pytest
import torch

from statewise import cli
from statewise.tasks.marked_words import marked_texts
from statewise.training.classifier import Classifier
from statewise.training.labels import load
from tests.training.small_labels import SMALL


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A lexicon of special words, and texts whose words at the end no training shows."""
    data = marked_texts(240, 100, seed=0)
    path = tmp_path_factory.mktemp("lexicon") / "special.tsv"
    path.write_text("".join(f"{one.upper()}\t1\n" for one in data.marked))
    return path, data.train, data.test


def classifier(**options):
    model = {
        "hidden": 16,
        "both_ways": False,
        "dropout": 0.0,
        "words": {"dim": 0, "grams": 0, "shape": False, "character_features": 16},
    }
    return Classifier(
        model=model, pooling=["attention"], max_epochs=20, batch=8, quiet=True,
        optimizer={"learning_rate": 0.02}, **options,
    )  # fmt: skip


@pytest.mark.parametrize("condition", ["concatenation", "gate", "affine"])
def test_it_says_where_to_look_among_words_that_no_training_has_shown(found, condition, tmp_path):
    path, seen, unseen = found
    told = classifier(lexicon=str(path), condition=condition).fit(*seen)
    assert told.score(*unseen) > 0.9
    told.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model")
    assert again.predict(unseen[0]) == told.predict(unseen[0])
    # The most is made of the word that the lexicon has.
    listed = {line.split("\t")[0].lower() for line in path.read_text().splitlines()}
    shares = told.model_.attention(unseen[0])
    right = [
        text.split()[int(share.argmax())] in listed
        for text, share in zip(unseen[0], shares, strict=True)
    ]
    assert sum(right) > 90


def test_without_it_there_is_no_telling(found):
    _, seen, unseen = found
    assert classifier().fit(*seen).score(*unseen) < 0.8


def test_from_the_command_line_and_on(found, tmp_path, capsys):
    path, (texts, labels), _ = found
    rows = zip(texts, labels, strict=True)
    (tmp_path / "x.csv").write_text("text,label\n" + "".join(f"{a},{b}\n" for a, b in rows))
    (tmp_path / "l.tsv").write_text(path.read_text() + "two words\t1\n")
    line = f"train classifier --data.train {tmp_path}/x.csv --out {tmp_path}/run {SMALL}"
    line += f" --lexicon {tmp_path}/l.tsv --max_steps 2"
    cli.main(line.split())
    log = (tmp_path / "run/train.log").read_text()
    assert "l.tsv: 1 numbers for 201 words; of the " in log
    assert re.search(r"x\.csv it knows (9\d|100)\n", log)
    assert "1 entries are cut into several words, and never met" in log
    model = load(tmp_path / "run")
    assert model.config.condition == "gate"
    assert model.vocabulary.numbers == 1
    capsys.readouterr()
    # Another lexicon is another model.
    (tmp_path / "l.tsv").write_text(path.read_text().replace("\t1", "\t2"))
    with pytest.raises(SystemExit):
        cli.main(f"{line} --resume".split())
    assert "the run cannot go on: its lexicon was" in capsys.readouterr().err


def test_another_model_may_begin_with_what_has_one(found, tmp_path):
    path, (texts, labels), _ = found
    first = classifier(lexicon=str(path)).set_params(max_epochs=1).fit(texts, labels)
    first.save(tmp_path / "first")
    options = {"start": str(tmp_path / "first"), "max_steps": 1, "quiet": True}
    still = {"learning_rate": 1e-12, "weight_decay": 0.0}
    plain = Classifier(**options).fit(texts, labels).model_
    assert plain.vocabulary.lexicon == {}
    kept = Classifier(
        **options, lexicon=str(path), keep_head=True, pooling=["attention"], optimizer=still
    )
    kept.fit(texts, labels)
    one, two = (each.predict_proba(texts[:9]) for each in (first, kept))
    torch.testing.assert_close(torch.stack(one), torch.stack(two), rtol=0, atol=1e-5)
