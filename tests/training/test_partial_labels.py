"""Taggers that learn from sentences of which some tags are not known."""

import json
import random

import pytest
import torch

from statewise import cli
from statewise.models.tagger import TaggingModel
from statewise.training import labelled
from statewise.training.label_report import write_label_report
from statewise.training.tagger import Tagger
from tests.training.small_labels import SMALL, conllu, sentences
from tests.training.test_labels import MODEL, run_with_notes, scores

FAST = {"model": MODEL, "max_epochs": 4, "batch": 8, "quiet": True}


def hidden(found, share, seed=0, unknown=None):
    """Return sentences with a share of their parts of speech and spans put out of sight."""
    draw = random.Random(seed)

    def some(tags):
        return [unknown if draw.random() < share else tag for tag in tags]

    return [(words, some(tags), some(spans), about) for words, tags, spans, about in found]


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_a_third_of_the_tags_is_enough(output):
    train, test = hidden(sentences(300), 2 / 3), sentences(60, seed=1)
    words, tags, *_ = map(list, zip(*train, strict=True))
    tagger = Tagger(**FAST, output=output, optimizer={"learning_rate": 0.02}).fit(words, tags)
    assert None not in tagger.labels_
    assert tagger.score([words for words, *_ in test], [tags for _, tags, *_ in test]) > 0.97
    # It is scored on what is known alone.
    known = [[None if tag == "PUNCT" else "PUNCT" for tag in tags] for _, tags, *_ in test]
    assert tagger.score([words for words, *_ in test], known) < 0.03


def test_spans_in_their_scheme(tmp_path):
    train, test = hidden(sentences(300), 0.5), sentences(60, seed=1)
    words, _, spans, _ = map(list, zip(*train, strict=True))
    whole = [words for words, *_ in test], [spans for _, _, spans, _ in test]
    tagger = Tagger(**FAST, optimizer={"learning_rate": 0.02}, data={"scheme": "BIO"})
    tagger.fit(words, spans, dev=whole, out=tmp_path / "run")
    assert tagger.model_.config.scheme == "BIO"
    assert tagger.score(*whole) > 0.95
    log = (tmp_path / "run/train.log").read_text()
    assert "tags are not known" in log
    # Of what is partly known, whole sentences are scored, and there have to be some.
    mixed = [*whole[1][:30], *([None, *tags[1:]] for tags in whole[1][30:])]
    assert tagger.score(whole[0], mixed) == tagger.score(whole[0][:30], whole[1][:30])
    with pytest.raises(ValueError, match="nothing in it to score with; of spans"):
        tagger.score(whole[0][:2], [[None] * len(words) for words in whole[0][:2]])


def test_a_sentence_of_which_all_is_known_costs_what_it_did():
    found = hidden(sentences(20), 0.5, unknown=None)
    words, tags, *_ = map(list, zip(*found, strict=True))
    tagger = Tagger(**{**FAST, "max_epochs": 1}).fit(words, tags)
    model = tagger.model_
    assert isinstance(model, TaggingModel)
    numbers = {label: at for at, label in enumerate(model.labels)}
    batch = model.vocabulary.spell(words[:1], buckets=model.buckets).batch([0])
    whole = torch.tensor([[numbers[tag] for tag in sentences(20)[0][1]]])
    free = whole.clone()
    free[0, 1] = -1
    # What is summed out costs less than any of its ways.
    each = []
    for tag in range(len(numbers)):
        whole[0, 1] = tag
        each.append(-model.loss(batch, whole))
    expected = -torch.logsumexp(torch.stack(each), 0)
    torch.testing.assert_close(model.loss(batch, free), expected, rtol=1e-4, atol=1e-4)


def test_from_files(tmp_path, capsys):
    found = sentences(200)
    partly = hidden(found, 0.4, unknown="?")
    for name, some in (("train", partly), ("test", hidden(sentences(40, seed=2), 0.4, 3, "?"))):
        (tmp_path / f"{name}.conllu").write_text(conllu(some))
    line = f"train tagger --data.train {tmp_path}/train.conllu --data.test {tmp_path}/test.conllu"
    cli.main(f"{line} --data.unknown ? --out {tmp_path}/run --max_epochs 8 {SMALL}".split())
    assert scores(tmp_path / "run")["test_accuracy"] > 0.97
    assert labelled.load(tmp_path / "run").labels == (
        "ADJ",
        "DET",
        "NOUN",
        "PROPN",
        "PUNCT",
        "VERB",
    )
    said = json.loads(run_with_notes(capsys, f"evaluate {tmp_path}/run --json"))
    assert said["accuracy"] == scores(tmp_path / "run")["test_accuracy"]
    assert "?" not in said["labels"]
    (tagged,) = labelled.evaluate(tmp_path / "run", None, labelled.Asked())
    known = sum(
        tag != "?" for _, tags, *_ in hidden(sentences(40, seed=2), 0.4, 3, "?") for tag in tags
    )
    assert len(tagged.said) == known
    assert write_label_report([tagged], tmp_path / "page.html").exists()
    # Two heads, of which either may be unknown.
    (tmp_path / "both.conll").write_text(
        "".join(
            "".join(f"{w} {t} {s}\n" for w, t, s in zip(words, tags, spans, strict=True)) + "\n"
            for words, tags, spans, _ in [*partly, *found[:40]]
        )
    )
    line = f"train tagger --data.train {tmp_path}/both.conll --data.column [2,3] --data.unknown ?"
    cli.main(f"{line} --out {tmp_path}/both --max_epochs 3 {SMALL}".split())
    assert scores(tmp_path / "both") == {}
    assert set(labelled.load(tmp_path / "both").heads) == {"2", "3"}


@pytest.mark.parametrize(
    ("tags", "options", "why"),
    [
        ([[None, None]] * 20, {}, "no tag in it is known"),
        ([["B-X", None]] * 20, {}, "no sentence has all its tags, .* name it with --data.scheme"),
        (
            [["B-X", "I-X"], ["O", None], ["B-Y", "I-X"]] * 9,
            {"scheme": "BIO"},
            None,
        ),
        (
            [["B-X", "I-X", "O"]] * 20 + [["O", "I-X", None]],
            {"scheme": "BIO"},
            "sentence 21, word 2: no BIO goes through the tags that are known up to here",
        ),
        (
            [["B-X", "E-X", "O"]] * 20 + [[None, None, "B-X"]],
            {"scheme": "BIOES"},
            "sentence 21, word 3: no BIOES goes through",
        ),
    ],
)
def test_what_cannot_be_learned_from(tags, options, why):
    words = [["a", "b", "c"][: len(some)] for some in tags]
    tagger = Tagger(**{**FAST, "max_epochs": 1}, data=options)
    if why is None:  # what breaks its scheme is put right where all is known
        assert tagger.fit(words, tags).labels_ == ("B-X", "B-Y", "I-X", "O")
        return
    with pytest.raises(ValueError, match=why):
        tagger.fit(words, tags, dev=(words[:9], tags[:9]))
