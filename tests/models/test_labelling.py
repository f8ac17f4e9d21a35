"""Taggers and classifiers as networks, before any training."""

import json

import pytest
import safetensors
import torch

from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.joint_tagger import JointConfig, JointTaggingModel
from statewise.models.pretrained import kind_of
from statewise.models.sentence_encoder import EncoderConfig, SentenceEncoder
from statewise.models.spelling import Vocabulary
from statewise.models.tagger import TaggerConfig, TaggingModel
from statewise.models.word_encoder import WordConfig, WordEncoder
from statewise.tasks.tagging import legal

SENTENCES = [["Uma", "visited", "Le", "Havre", "."], ["She", "ran"], ["Why", "?", "Le", "Havre"]]
TAGS = ["O", "B-LOC", "I-LOC", "B-PER"]

SMALL = WordConfig(dim=5, minimum=1, character_dim=4, character_features=6, grams=3, buckets=50)


def encoder_config(**options):
    return EncoderConfig(**{"words": SMALL, "hidden": 4, **options})


def tagger(output="crf", seed=0, **options):
    torch.manual_seed(seed)
    config = TaggerConfig(
        encoder=encoder_config(**options), labels=TAGS, output=output, scheme="BIO"
    )
    return TaggingModel(config, Vocabulary.of(SENTENCES), legal=legal(TAGS, "BIO"))


def classifier(seed=0, **options):
    torch.manual_seed(seed)
    config = ClassifierConfig(encoder=encoder_config(), labels=["no", "yes"], **options)
    return ClassifyingModel(config, Vocabulary.of(SENTENCES))


def test_a_window_without_characters_is_linear_in_the_words():
    words = SMALL.model_copy(update={"characters": None})
    model = tagger(words=words, mixer="time_delay").double().eval()
    texts = [["She", b, "Le", d, "Havre"] for b in ("ran", "Why") for d in (".", "Uma")]
    scores = model(model.spell(texts).batch(range(4)))[:, 2]
    (first, other), (lower, last) = scores.unflatten(0, (2, 2))
    torch.testing.assert_close(first - other, lower - last)
    assert (first - other).abs().min() > 1e-6
    far = [["Why", *texts[0]], ["Uma", *texts[0]]]  # three words away
    far = model(model.spell(far).batch(range(2)))[:, 3]
    torch.testing.assert_close(far[0], far[1], rtol=0, atol=0)


WORDS = {
    "all": {},
    "words alone": {"characters": None, "grams": 0, "shape": False},
    "characters alone": {"dim": 0, "grams": 0, "shape": False},
    "grams alone": {"dim": 0, "characters": None, "shape": False},
    "characters by a mixer": {"characters": {"name": "gru"}},
    "characters by a whole sequence": {"characters": "bidirectional"},
}


@pytest.mark.parametrize("options", WORDS.values(), ids=WORDS)
def test_a_word_has_the_same_features_in_any_batch(options):
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(SENTENCES)
    encoder = WordEncoder(SMALL.model_copy(update=options), vocabulary).eval()
    spelling = vocabulary.spell(SENTENCES, buckets=encoder.buckets)
    together = encoder(spelling.batch([0, 1, 2]))
    assert together.shape == (3, 5, encoder.out)
    for row in range(3):
        alone = encoder(spelling.batch([row]))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone)
    torch.testing.assert_close(together[0, 2:4], together[2, 2:4])


def test_a_word_of_which_nothing_is_read_is_refused():
    config = WordConfig(dim=0, characters=None, grams=0, shape=False)
    with pytest.raises(ValueError, match="nothing of a word is read"):
        WordEncoder(config, Vocabulary.of(SENTENCES))


def test_dropped_words_are_read_as_unknown_ones():
    vocabulary = Vocabulary.of(SENTENCES)
    config = SMALL.model_copy(update={"characters": None, "grams": 0, "shape": False, "drop": 0.5})
    encoder = WordEncoder(config, vocabulary).train()
    batch = vocabulary.spell([["Uma"] * 400], buckets=0).batch([0])
    seen = encoder(batch)[0]
    known, unknown = (
        encoder.embedding.weight[int(batch.types.words[0])],
        encoder.embedding.weight[1],
    )
    dropped = (seen == unknown).all(1)
    assert ((seen == known).all(1) ^ dropped).all()
    assert 0.35 < float(dropped.float().mean()) < 0.65


ENCODERS = {
    "lstm": {},
    "from the left": {"both_ways": False},
    "min_gru": {"mixer": "min_gru", "depth": 2},
    "mamba": {"mixer": {"name": "mamba"}},
    "reads both ways itself": {"mixer": "lion"},
    "deep and dense": {"depth": 4, "wiring": "dense"},
    "residual": {"depth": 3, "wiring": "residual", "hidden": 9, "words": None},
}


@pytest.mark.parametrize("options", ENCODERS.values(), ids=ENCODERS)
def test_a_sentence_is_read_alike_whatever_stands_beside_it(options):
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(SENTENCES)
    if options.get("words", 0) is None:  # as wide as both directions
        words = SMALL.model_copy(update={"grams": 0, "shape": False, "dim": 12})
        options = {**options, "words": words}
    encoder = SentenceEncoder(encoder_config(**options), vocabulary).eval()
    spelling = vocabulary.spell(SENTENCES, buckets=encoder.words.buckets)
    together = encoder(spelling.batch([0, 1, 2]))
    for row, words in enumerate(SENTENCES):
        alone = encoder(spelling.batch([row]))[0]
        torch.testing.assert_close(together[row, : len(words)], alone, rtol=1e-4, atol=1e-5)
        assert (together[row, len(words) :] == 0).all()


def test_from_the_left_the_future_does_not_count():
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(SENTENCES)
    encoder = SentenceEncoder(encoder_config(both_ways=False), vocabulary).eval()
    spelling = vocabulary.spell([["Uma", "ran"], ["Uma", "visited"]], buckets=encoder.words.buckets)
    one, other = encoder(spelling.batch([0, 1]))
    torch.testing.assert_close(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_a_tagger_is_saved_and_loaded(tmp_path, output):
    model = tagger(output).eval()
    model.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == "tagger"
    again = TaggingModel.from_pretrained(tmp_path)
    assert again.predict(SENTENCES) == model.predict(SENTENCES)
    for one, two in zip(*(m.predict_proba(SENTENCES) for m in (again, model)), strict=True):
        assert torch.equal(one, two)
    if output == "crf":
        assert torch.equal(again.crf.legal_transition, model.crf.legal_transition)


def test_a_folder_holds_text_and_tensors_alone(tmp_path):
    tagger().save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("config.json", "model.safetensors", "vocabulary.json")
    }
    assert json.loads((tmp_path / "config.json").read_text())["config"]["labels"] == TAGS


def test_a_model_of_another_kind_is_refused(tmp_path):
    classifier().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="describes a classifier, not a tagger"):
        TaggingModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_probabilities_are_those_of_the_answers(output):
    model = tagger(output)
    with torch.no_grad():
        model.head.weight.mul_(20)
    probabilities = model.predict_proba([*SENTENCES, []])
    for words, found in zip([*SENTENCES, []], probabilities, strict=True):
        assert found.shape == (len(words), len(TAGS))
        torch.testing.assert_close(found.sum(1), torch.ones(len(words)))
    if output == "softmax":
        best = [tuple(TAGS[at] for at in found.argmax(1).tolist()) for found in probabilities]
        assert best == model.predict([*SENTENCES, []])


def test_a_crf_never_breaks_its_scheme():
    for seed in range(5):
        model = tagger(seed=seed)
        with torch.no_grad():
            model.head.weight.mul_(100)
        for tags in model.predict(SENTENCES):
            for before, after in zip(("O", *tags), tags, strict=False):
                assert after != "I-LOC" or before in ("B-LOC", "I-LOC")


@pytest.mark.parametrize("make", [tagger, classifier])
def test_every_parameter_learns(make):
    model = make().train()
    batch = model.vocabulary.spell(SENTENCES, buckets=model.buckets).batch([0, 1, 2])
    targets = torch.zeros(3, 5, dtype=torch.int64) if make is tagger else torch.tensor([0, 1, 0])
    model.loss(batch, targets).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_the_loss_is_that_of_what_is_answered():
    model = classifier().eval()
    batch = model.vocabulary.spell(SENTENCES, buckets=model.buckets).batch([0, 1, 2])
    probabilities = torch.stack(model.predict_proba(SENTENCES))
    expected = -probabilities[[0, 1, 2], [0, 1, 1]].log().sum()
    torch.testing.assert_close(model.loss(batch, torch.tensor([0, 1, 1])), expected)


def test_a_classifier_reads_strings_as_it_cuts_them():
    model = classifier(pooling=["mean", "last"])
    assert model.predict(["Why? Le Havre"]) == model.predict([["Why", "?", "Le", "Havre"]])
    (one,), (two,) = model.predict_proba(["She ran"]), model.predict_proba([["She", "ran"]])
    assert torch.equal(one, two)


def test_what_is_asked_leaves_the_model_in_its_mode():
    model = tagger().train()
    model.predict(SENTENCES)
    assert model.training


def test_texts_without_words_have_answers_too():
    assert tagger().predict([[], []]) == [(), ()]
    assert len(classifier().predict(["", "  "])) == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mixer": "lstmm"}, "there is no mixer 'lstmm'; did you mean 'lstm'"),
        ({"mixer": {"name": "gru", "hiden": 3}}, "has no option 'hiden'; did you mean 'hidden'"),
        ({"dept": 2}, "an encoder has no field 'dept'; did you mean 'depth'"),
        ({"words": {"dims": 3}}, "words has no field 'dims'; did you mean 'dim'"),
        ({"dropout": 1.5}, "dropout"),
        ({"wiring": "loose"}, "wiring"),
        (
            {"words": SMALL.model_copy(update={"characters": "gru", "character_features": 5})},
            "even",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        tagger(**options)


def joint(seed=0, **options):
    torch.manual_seed(seed)
    heads = {
        "ner": {"kind": "tagger", "labels": TAGS, "output": "crf", "scheme": "BIO"},
        "feats.Number": {"kind": "tagger", "labels": ["Plur", "Sing"], "output": "softmax"},
        "about": {"kind": "classifier", "labels": ["no", "yes"]},
    }
    config = JointConfig(encoder=encoder_config(**options), heads=heads)
    vocabulary = Vocabulary.of(SENTENCES)
    return JointTaggingModel(config, vocabulary, legal={"ner": legal(TAGS, "BIO")})


def test_the_cost_of_several_heads_is_the_sum_of_theirs():
    model = joint().double().eval()
    batch = model.vocabulary.spell(SENTENCES, buckets=model.buckets).batch([0, 1, 2])
    targets = (
        torch.zeros(3, 5, dtype=torch.int64),
        torch.ones(3, 5, dtype=torch.int64),
        torch.tensor([0, 1, 0]),
    )
    parts = [head.loss(batch, y) for head, y in zip(model.heads.values(), targets, strict=True)]
    total = model.loss(batch, targets)
    torch.testing.assert_close(total, sum(parts))
    # The gradient of the encoder is the sum of theirs too.
    weight = model.encoder.words.embedding.weight
    (one,) = torch.autograd.grad(total, weight, retain_graph=True)
    each = [torch.autograd.grad(part, weight, retain_graph=True)[0] for part in parts]
    torch.testing.assert_close(one, sum(each))
    assert all(gradient.abs().max() > 0 for gradient in each)


def test_several_heads_answer_as_each_alone(tmp_path):
    model = joint().eval()
    asked = [*SENTENCES, []]
    for name, head in model.heads.items():
        assert [said[name] for said in model.predict(asked)] == head.predict(asked)
        one = [said[name] for said in model.predict_proba(asked)]
        assert all(map(torch.equal, one, head.predict_proba(asked)))
    model.save_pretrained(tmp_path)
    assert kind_of(tmp_path) == "joint_tagger"
    again = JointTaggingModel.from_pretrained(tmp_path)
    assert again.predict(asked) == model.predict(asked)
    rules = (head.heads["ner"].crf.legal_transition for head in (again, model))
    assert torch.equal(*rules)
    # What they share is written once.
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert not any("encoder" in name for name in file.keys() if name.startswith("_heads"))  # noqa: SIM118


@pytest.mark.parametrize(
    ("heads", "why"),
    [
        ({}, "needs one at least"),
        (
            {"a": {"kind": "parser"}},
            "head 'a' is a parser; it should be a tagger or a classifier or a",
        ),
        ({"a": {"kind": "tagger", "labels": []}}, "head 'a': labels should be different ones"),
        ({"a": {"kind": "tagger", "label": ["x"]}}, "head 'a': a tagger has no field 'label'"),
        (
            {
                "a": {"kind": "tagger", "labels": ["x"]},
                "b": {"kind": "tagger", "labels": ["x"], "look_ahead": 1},
            },
            "the same look_ahead",
        ),
    ],
)
def test_heads_that_cannot_be_built(heads, why):
    config = JointConfig(encoder=encoder_config(both_ways=False), heads=heads)
    with pytest.raises(ValueError, match=why):
        JointTaggingModel(config, Vocabulary.of(SENTENCES))


DESCRIBED = [
    [("Uma", "PROPN", "Case=Nom|Number=Sing"), ("ran", "VERB", "_")],
    [("Le", "DET", "Number=Sing"), ("Uma", "X|Y", "Case=Nom"), (".", "PUNCT", "Number=Dual")],
]


def test_features_are_the_sums_of_the_vectors_of_their_parts():
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(DESCRIBED[:1], features=["upos", "feats"])
    assert vocabulary.features == {
        "upos": ("PROPN", "VERB"),
        "feats": ("Case=Nom", "Number=Sing", "_"),
    }
    config = SMALL.model_copy(update={"feature_dim": 3})
    encoder = WordEncoder(config, vocabulary).eval()
    spelling = vocabulary.spell(DESCRIBED, buckets=encoder.buckets)
    one, two = encoder(spelling.batch([0, 1]))
    told = slice(-11, -5)  # before the vector of the word itself
    upos, feats = (feature.weight for feature in encoder.features)
    torch.testing.assert_close(one[0, told], torch.cat([upos[2], feats[2] + feats[3]]))
    torch.testing.assert_close(one[1, told], torch.cat([upos[3], feats[4]]))
    # What no training has shown adds nothing: DET, X|Y, which are no parts, and the dual.
    torch.testing.assert_close(two[0, told], torch.cat([torch.zeros(3), feats[3]]))
    torch.testing.assert_close(two[1, told], torch.cat([torch.zeros(3), feats[2]]))
    assert (two[2, told] == 0).all()
    # The word itself is the same, whatever stands beside it.
    same = [at for at in range(encoder.out) if at not in range(encoder.out)[told]]
    torch.testing.assert_close(one[0, same], two[1, same])
    alone = encoder(spelling.batch([0]))[0]
    torch.testing.assert_close(one[:2], alone)


def test_a_vocabulary_of_features_is_saved_and_loaded(tmp_path):
    vocabulary = Vocabulary.of(DESCRIBED, features=["upos", "feats"])
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").features == vocabulary.features
    with pytest.raises(ValueError, match="has the part of upos 'A' twice"):
        Vocabulary([], [], {"upos": ["A", "A"]})


def test_words_without_their_features_are_refused():
    config = TaggerConfig(encoder=encoder_config(both_ways=False), labels=TAGS)
    model = TaggingModel(config, Vocabulary.of(DESCRIBED, features=["upos", "feats"]))
    assert len(model.predict(DESCRIBED)[1]) == 3
    lists = [[list(word) for word in words] for words in DESCRIBED]
    assert model.predict(lists) == model.predict(DESCRIBED)
    state = model.initial_state()
    assert len(model.stream(DESCRIBED[1], state, ended=True)[0]) == 3
    for words in (["Uma"], [("Uma", "PROPN")]):
        with pytest.raises(ValueError, match=r"expected a word and its 2 features \(upos, feats\)"):
            model.predict([words])
    with pytest.raises(ValueError, match="and no strings"):
        model.predict([[("Uma", "PROPN", "")]])
