"""Taggers and classifiers that begin with what another has learned."""

import pytest
import torch

from statewise import cli
from statewise.models import pretrained
from statewise.models.spelling import Vocabulary
from statewise.training.classifier import Classifier
from statewise.training.labels import load
from statewise.training.tagger import Tagger
from tests.training.small_labels import SMALL, conllu, sentences, texts
from tests.training.test_labels import MODEL
from tests.training.test_resume import contents

STILL = {"learning_rate": 1e-12, "weight_decay": 0.0}
"""An optimizer that moves nothing to speak of."""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder with files and a tagger that has learned parts of speech."""
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "x.conllu").write_text(conllu(sentences(200)))
    (folder / "x.csv").write_text(texts(sentences(30, seed=1)))
    line = f"train tagger --data.train {folder}/x.conllu --out {folder}/pos --max_epochs 4 {SMALL}"
    cli.main(line.split())
    return folder


NEW = [["Zoë", "left", "Ξ", "."], ["Uma", "zoomed", "."], ["zoomed", "Zoë", "zoë", "Ξ"]]


def features(model, words):
    batch = model.vocabulary.spell(words, buckets=model.buckets).batch(range(len(words)))
    return model.eval().features(batch)


def test_before_its_first_step_it_reads_as_the_other_does(first):
    old = load(first / "pos")
    model = (
        Classifier(start=str(first / "pos"), max_steps=1, quiet=True, optimizer=STILL)
        .fit([" ".join(words) for words in NEW] * 8, ["a", "b", "c"] * 8)
        .model_
    )
    # New are words that stand there twice, and their characters; all else is where it was.
    assert model.vocabulary.words[: len(old.vocabulary)] == old.vocabulary.words
    assert set(model.vocabulary.words[len(old.vocabulary) :]) == {"zoë", "zoomed", "ξ"}
    torch.testing.assert_close(features(model, NEW), features(old, NEW), rtol=0, atol=1e-7)
    assert model.config.encoder == old.config.encoder


def test_it_learns_faster_than_from_nothing(first):
    found = sentences(30, seed=1)
    tags = [tags for _, tags, _, _ in found]
    options = {"max_epochs": 3, "batch": 4, "quiet": True, "optimizer": {"learning_rate": 3e-3}}
    words = [words for words, *_ in found]
    kept = Tagger(start=str(first / "pos"), keep_head=True, **options).fit(words, tags)
    head = Tagger(start=str(first / "pos"), **options).fit(words, tags)
    fresh = Tagger(model=MODEL, **options).fit(words, tags)
    assert kept.score(words, tags) > 0.98
    assert head.score(words, tags) > fresh.score(words, tags)


def test_a_head_is_kept_whole(first):
    found = sentences(40, seed=2)
    options = {"start": str(first / "pos"), "keep_head": True, "max_steps": 1, "quiet": True}
    tagger = Tagger(**options, optimizer=STILL)
    tagger.fit([words for words, *_ in found], [tags for _, tags, *_ in found])
    old = load(first / "pos")
    for name, tensor in pretrained.tensors_of(old).items():
        mine = pretrained.tensors_of(tagger.model_)[name]
        if name.endswith("draws.seed"):  # dropout is that of this run
            assert mine != tensor
            continue
        torch.testing.assert_close(mine[: len(tensor)], tensor, rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="its head has other labels"):
        tagger.fit([["a", "b"]] * 20, [["X", "Y"]] * 20)


def test_a_vocabulary_grows_behind_what_it_knows():
    old = Vocabulary(["a", "b"], ["a"], {"upos": ["N"]})
    grown = old.grown(Vocabulary(["c", "a"], ["c", "a"], {"upos": ["V", "N"]}))
    assert grown.words == ("a", "b", "c")
    assert grown.characters == ("a", "c")
    assert grown.features == {"upos": ("N", "V")}
    with pytest.raises(ValueError, match="words with nothing beside them, where upos should be"):
        Vocabulary([], [], {"upos": []}).grown(Vocabulary([], []))


def test_it_goes_on_bit_by_bit(first, tmp_path):
    line = f"train classifier --data.train {first}/x.csv --start {first}/pos --max_steps 6 --quiet"
    line += " --batch 8 --optimizer.learning_rate 0.01"
    cli.main(f"{line} --out {tmp_path}/a".split())
    cli.main(f"{line} --out {tmp_path}/b".split())
    one = contents(tmp_path / "a")
    cli.main(f"{line} --out {tmp_path}/b --resume".split())
    again = contents(tmp_path / "b")
    assert all(torch.equal(one[name], again[name]) for name in one)
    log = (tmp_path / "a/train.log").read_text()
    assert f"begins with {first}/pos, and" in log
    # The configuration says how it reads, and can be given again.
    assert "hidden: 16" in (tmp_path / "a/config.yaml").read_text()
    cli.main(
        ["train", "classifier", "--config", f"{tmp_path}/a/config.yaml", "--resume", "--quiet"]
    )


def test_dropout_may_be_another(first):
    options = {"start": str(first / "pos"), "max_steps": 1, "quiet": True}
    texts_, labels = ["a b", "b a"] * 10, ["x", "y"] * 10
    plain = Classifier(**options).fit(texts_, labels).model_.config.encoder
    other = {"dropout": 0.3, "words": {"drop": 0.05}}
    free = Classifier(**options, model=other).fit(texts_, labels).model_.config.encoder
    assert (plain.dropout, free.dropout, free.words.drop) == (0.1, 0.3, 0.05)
    assert free.hidden == plain.hidden == 16


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--model.hidden 17", "--model.hidden 17: the encoder to begin with, of {}/pos, has 16"),
        ("--model.words.dim 9", "--model.words.dim 9: the encoder"),
        ("--vectors x", "start brings the vectors"),
        ("--keep_head true", "{}/pos: its head has other labels, or is made otherwise"),
        ("--start {}", "{}: this is neither a run with a checkpoint nor a model"),
        ("--start lost", "lost: there is no such folder"),
    ],
)
def test_what_cannot_begin_so(first, tmp_path, capsys, options, why):
    line = f"train classifier --data.train {first}/x.csv --start {first}/pos --quiet "
    line += options.replace("{}", str(first)) + f" --out {tmp_path}/new"
    with pytest.raises(SystemExit):
        cli.main(line.split())
    said = capsys.readouterr().err
    assert why.replace("{}", str(first)) in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_head_without_a_beginning(first, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "tagger", "--data.train", f"{first}/x.conllu", "--keep_head", "true"])
    assert "set start" in capsys.readouterr().err


def test_words_need_the_features_that_it_reads(first, tmp_path):
    words = [[(word, "X") for word in words] for words, *_ in sentences(20)]
    tags = [tags for _, tags, *_ in sentences(20)]
    with pytest.raises(
        ValueError, match="words with feature 1 beside them, where nothing should be"
    ):
        Tagger(start=str(first / "pos"), quiet=True).fit(words, tags)
