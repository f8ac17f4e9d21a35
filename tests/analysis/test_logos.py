import pytest
import torch

from statewise.analysis.logos import filter_logos
from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.spelling import UNKNOWN, Vocabulary

SEQUENCES = [list("xxabx"), list("abx"), list("xxxab"), list("xbax"), list("xxx"), list("b")]


def classifier(filters):
    torch.manual_seed(0)
    config = ClassifierConfig.model_validate(
        {
            "labels": ["no", "yes"],
            "encoder": {
                "words": {"dim": 3, "minimum": 1, "grams": 0, "characters": None, "shape": False},
                "hidden": 2,
                "filters": filters,
                "filter_features": 2,
            },
        }
    )
    return ClassifyingModel(config, Vocabulary.of(SEQUENCES)).train()


def test_the_logo_is_what_a_filter_answers_to():
    model = classifier([3])
    encoder, known = model.encoder, model.vocabulary.words
    with torch.no_grad():
        # Every letter a feature of its own; the first filter sees nothing, then a, then b.
        encoder.words.embedding.weight[UNKNOWN + 1 :] = torch.eye(3)
        [convolution] = encoder.filters.convolutions
        convolution.weight.zero_()
        convolution.bias.copy_(torch.tensor([-1.0, -9.0]))
        convolution.weight[0, known.index("a"), 1] = 1
        convolution.weight[0, known.index("b"), 2] = 1
    seeing, silent = filter_logos(model, SEQUENCES)
    assert model.training
    assert (seeing.words, seeing.windows) == (("a", "b", "x"), 3)
    torch.testing.assert_close(
        seeing.shares, torch.tensor([[0, 0, 2 / 3], [1.0, 0, 0], [0, 1.0, 0]])
    )
    assert seeing.consensus == ("x", "a", "b")
    assert (silent.windows, float(silent.shares.sum())) == (0, 0)
    assert silent.consensus == ("", "", "")
    assert filter_logos(model, SEQUENCES, most=1)[0].windows == 1


def test_a_model_without_filters_is_refused():
    with pytest.raises(ValueError, match="no filters"):
        filter_logos(classifier([]), SEQUENCES)
