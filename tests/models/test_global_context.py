import random

import pytest
import torch

from statewise.models.global_context import GlobalContext
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.spelling import Vocabulary
from statewise.models.tagger import TaggerConfig, TaggingModel
from statewise.training.tagger import Tagger

LENGTHS = torch.tensor([4, 2, 0, 1])


def padded(fill):
    x = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(torch.arange(4)[None, :, None] < LENGTHS[:, None, None], x, fill)


@pytest.mark.parametrize("both_ways", [True, False])
def test_it_is_its_formula(both_ways):
    torch.manual_seed(0)
    gate, x = GlobalContext(6, both_ways=both_ways).double(), padded(0.0)
    y = gate(x, LENGTHS)
    weight = torch.cat([gate.word.weight, gate.sentence.weight], 1)
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            h, last, first = x[row, t], x[row, length - 1], x[row, 0]
            context = torch.cat([last[:3], first[3:]]) if both_ways else last
            both = (weight @ torch.cat([h, context]) + gate.word.bias).sigmoid()
            torch.testing.assert_close(y[row, t], both[:6] * h + both[6:] * context)
        assert (y[row, length:] == 0).all()


def test_padding_is_not_read():
    torch.manual_seed(0)
    gate = GlobalContext(6, both_ways=True).double()
    x = padded(float("nan")).requires_grad_()
    y = gate(x, LENGTHS)
    torch.testing.assert_close(y, gate(padded(0.0), LENGTHS))
    y.sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())


def test_it_tells_what_is_too_far_for_the_mixer():
    # All tags of a sentence are told by its first word, which a short convolution soon forgets.
    draw = random.Random(0)
    words = [[draw.choice("xy"), *(draw.choice("abcd") for _ in range(24))] for _ in range(64)]
    tags = [[some[0].upper()] * len(some) for some in words]
    scores = {}
    for context in (True, False):
        model = {"mixer": "short_convolution", "hidden": 16, "context": context, "dropout": 0.0}
        model["words"] = {"dim": 16, "grams": 0, "character_features": 8, "minimum": 1}
        tagger = Tagger(
            model=model, output="softmax", max_epochs=12, batch=8, quiet=True,
            optimizer={"learning_rate": 0.02},
        )  # fmt: skip
        scores[context] = tagger.fit(words, tags).score(words, tags)
    assert scores[True] > 0.95
    assert scores[False] < 0.75


def test_a_sentence_that_arrives_has_no_context_yet(tmp_path):
    vocabulary = Vocabulary.of([["a"]])
    encoder = EncoderConfig(both_ways=False, context=True, hidden=4)
    model = TaggingModel(TaggerConfig(encoder=encoder, labels=["x", "y"]), vocabulary).eval()
    with pytest.raises(ValueError, match="a gate of the whole sentence"):
        model.initial_state()
    model.save_pretrained(tmp_path)
    again = TaggingModel.from_pretrained(tmp_path)
    (one,), (two,) = (each.predict_proba([["a", "b", "a"]]) for each in (model, again))
    assert torch.equal(one, two)
