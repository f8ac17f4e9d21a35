"""Transitions in place of a CRF: from files, in Python, of every scheme; and what they refuse."""

import json

import pytest
from small_labels import SMALL, columns, conllu, sentences

from statewise import cli
from statewise.tasks.tagging import convert
from statewise.training.classifier import Classifier
from statewise.training.tagger import Tagger


def test_from_files_and_on(tmp_path, capsys):
    for name, count, seed in (("train", 150, 0), ("test", 40, 1)):
        (tmp_path / f"{name}.txt").write_text(columns(sentences(count, seed)))
    line = f"train tagger --data.train {tmp_path}/train.txt --output transitions --max_steps 120"
    cli.main(f"{line} --out {tmp_path}/run {SMALL}".split())
    capsys.readouterr()
    line = f"evaluate {tmp_path}/run --data.path {tmp_path}/test.txt --json"
    cli.main(line.split())
    found = json.loads(capsys.readouterr().out)
    assert found["f1"] > 0.95
    assert 0 <= found["calibration_error"] < 0.2
    (tmp_path / "new.txt").write_text("Bo Li saw Le Havre .\n")
    cli.main(f"predict {tmp_path}/run {tmp_path}/new.txt --confidence".split())
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines() if line]
    assert [row[1] for row in rows] == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]
    assert all(0 < float(row[2]) <= 1 for row in rows)
    with pytest.raises(SystemExit):
        cli.main(f"predict {tmp_path}/run - --stream".split())
    assert "transitions read what is left of a sentence" in capsys.readouterr().err


def small(**options):
    return Tagger(
        output="transitions", max_steps=2, quiet=True, **options,
        model={"hidden": 4, "words": {"dim": 4, "grams": 0, "character_features": 4}},
    )  # fmt: skip


def test_what_it_learns_of_one_scheme_it_writes_so(tmp_path):
    data = sentences(10)
    words = [words for words, _, _, _ in data]
    for scheme in ("BIOES", "IOB1"):
        tags = [convert(spans, scheme) for _, _, spans, _ in data]
        tagger = small(data={"scheme": scheme}).fit(words, tags)
        tagger.save(tmp_path / scheme)
        again = Tagger.load(tmp_path / scheme)
        found = tagger.predict([*words, []])
        assert found == again.predict([*words, []])
        assert all(list(each) == convert(each, scheme) for each in found)
        some = words[:2]
        shares = again.predict_proba(some)
        assert [share.shape for share in shares] == [
            (len(each), len(tagger.model_.labels)) for each in some
        ]
        for one, share in zip(some, shares, strict=True):
            assert share.sum(1).tolist() == pytest.approx([1.0] * len(one))
            # What is drawn for a sentence does not depend on those beside it.
            assert (again.predict_proba([one])[0] == share).all()


def test_what_has_no_spans_is_refused(tmp_path, capsys):
    data = sentences(20)
    words = [words for words, _, _, _ in data]
    with pytest.raises(ValueError, match="transitions find spans, and these are classes of words"):
        small().fit(words, [tags for _, tags, _, _ in data])
    with pytest.raises(ValueError, match="transitions learn of whole sentences"):
        small(data={"scheme": "BIO"}).fit(words, [[*spans[:-1], None] for _, _, spans, _ in data])
    (tmp_path / "x.conllu").write_text(conllu(data))
    with pytest.raises(SystemExit):
        cli.main(f"train tagger --data.train {tmp_path}/x.conllu --output transitions".split())
    assert "use --output crf or softmax" in capsys.readouterr().err
    with pytest.raises(ValueError, match="transitions find spans"):
        Classifier(output="transitions", quiet=True).fit([["a", "b"]] * 9, [["x", "y"]] * 9)
