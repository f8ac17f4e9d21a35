import math
from itertools import pairwise, product

import pytest
import torch

from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.ensemble import Ensemble
from statewise.models.spelling import Vocabulary
from statewise.tasks.tagging.schemes import follows
from tests.models.test_labelling import SENTENCES, TAGS, classifier, encoder_config, tagger


def loud(model):
    """Return a model that is sure of itself."""
    with torch.no_grad():
        model.head.weight.mul_(20)
    return model.eval()


def test_its_probabilities_are_the_mean():
    models = [loud(tagger(seed=seed, hidden=3 + seed)) for seed in range(3)]
    together = Ensemble(models).predict_proba([*SENTENCES, []])
    each = [model.predict_proba([*SENTENCES, []]) for model in models]
    for found, parts in zip(together, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(found, sum(parts) / 3)
        torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def legal_paths(words):
    for path in product(range(len(TAGS)), repeat=words):
        tags = [None, *(TAGS[at] for at in path), None]
        if all(follows("BIO", *pair) for pair in pairwise(tags)):
            yield path


def test_its_tags_are_the_best_path_that_keeps_the_rules():
    for seed in range(0, 12, 3):
        together = Ensemble([loud(tagger(seed=seed + more)) for more in range(3)])
        for words, tags, p in zip(
            SENTENCES, together.predict(SENTENCES), together.predict_proba(SENTENCES), strict=True
        ):

            def weight(path, p=p):
                return sum(math.log(p[at, tag]) for at, tag in enumerate(path))

            best = max(legal_paths(len(words)), key=weight)
            assert tags == tuple(TAGS[tag] for tag in best)
    assert together.predict([[]]) == [()]


def test_without_rules_each_word_has_its_likeliest_tag():
    together = Ensemble([loud(tagger("softmax", seed=seed)) for seed in range(3)])
    found = [tuple(TAGS[at] for at in p.argmax(1)) for p in together.predict_proba(SENTENCES)]
    assert together.predict(SENTENCES) == found


def test_classes_are_the_likeliest_and_one_model_alone_is_itself():
    models = [loud(classifier(seed=seed)) for seed in range(3)]
    texts = ["Why? Le Havre", "She ran", ""]
    found = [("no", "yes")[int(p.argmax())] for p in Ensemble(models).predict_proba(texts)]
    assert Ensemble(models).predict(texts) == found
    assert Ensemble(models[:1]).predict(texts) == models[0].predict(texts)


def test_what_does_not_label_alike_is_refused():
    config = ClassifierConfig(encoder=encoder_config(), labels=["no", "perhaps"])
    other = ClassifyingModel(config, Vocabulary.of(SENTENCES))
    with pytest.raises(ValueError, match="one model at least"):
        Ensemble([])
    with pytest.raises(ValueError, match="model 2 is a tagger, and the first a classifier"):
        Ensemble([classifier(), tagger()])
    with pytest.raises(
        ValueError, match="model 2 has the labels no, perhaps, and the first no, yes"
    ):
        Ensemble([classifier(), other])
