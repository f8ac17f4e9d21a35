"""Attention that is conditioned on what is known of words beforehand."""

import pytest
import torch

from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.conditioning import CONDITIONS
from statewise.models.pooling import Attention, PoolingConfig, Pools
from statewise.models.spelling import Vocabulary
from tests.models.test_labelling import SENTENCES, encoder_config
from tests.models.test_pooling import LENGTHS, padded

LEXICON = {"Uma": [1.0, 0.5], "HAVRE": [-1.0, 0.25], "absent": [3.0, 4.0]}


def known(fill=float("nan")):
    numbers = torch.randn(4, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.where(torch.arange(4)[None, :, None] < LENGTHS[:, None, None], numbers, fill)


def attention(name, layers=None):
    torch.manual_seed(0)
    return Attention(6, layers=layers, condition=CONDITIONS[name](6, 2)).double()


def scored(pool, name, h, c):
    """Return the score of one word, by the equations of the paper."""
    condition = pool.condition
    if name == "concatenation":
        inner, _, outer = pool.score
        f = (inner.weight @ torch.cat([h, c]) + inner.bias).tanh()
        return outer.weight[0] @ f
    (outer,) = pool.score
    if name == "gate":
        f = (condition.gate.weight @ c + condition.gate.bias).sigmoid() * h
    else:
        stretch = condition.stretch.weight @ c + condition.stretch.bias
        f = stretch * h + condition.move.weight @ c + condition.move.bias
    return outer.weight[0] @ f


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_form_is_its_equation(name):
    pool, x, numbers = attention(name), padded(0.0), known(0.0)
    weights = pool.weights(x, LENGTHS, numbers)
    y = pool(x, LENGTHS, numbers)
    for row, length in enumerate(LENGTHS.tolist()):
        scores = [scored(pool, name, x[row, t], numbers[row, t]) for t in range(length)]
        shares = torch.stack(scores).softmax(0) if scores else torch.zeros(0).double()
        torch.testing.assert_close(weights[row, :length], shares, rtol=1e-5, atol=1e-6)
        mean = sum((a * h for a, h in zip(shares, x[row], strict=False)), torch.zeros(6).double())
        torch.testing.assert_close(y[row], mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONDITIONS)
def test_padding_is_not_read(name):
    pool = attention(name)
    x, numbers = padded().requires_grad_(), known().requires_grad_()
    y = pool(x, LENGTHS, numbers)
    torch.testing.assert_close(y, pool(padded(0.0), LENGTHS, known(0.0)))
    y.sum().backward()
    for gradient in (x.grad, numbers.grad, *(p.grad for p in pool.parameters())):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", CONDITIONS)
def test_the_numbers_have_a_say(name):
    pool, x = attention(name), padded(0.0)
    one, other = pool.weights(x, LENGTHS, known(0.0)), pool.weights(x, LENGTHS, -known(0.0))
    assert (one[0] - other[0]).abs().max() > 1e-3
    with pytest.raises(ValueError, match="conditioned on numbers, and there are none"):
        pool.weights(x, LENGTHS)


def test_attention_may_be_deep():
    pool, x = Attention(6, layers=3).double(), padded(0.0)
    y = x[0]
    for layer in (pool.score[0], pool.score[2], pool.score[4]):
        y = (y @ layer.weight.T + layer.bias).tanh()
    expected = (y @ pool.score[6].weight[0]).softmax(0)
    torch.testing.assert_close(pool.weights(x, LENGTHS)[0], expected, rtol=1e-5, atol=1e-6)
    assert len(attention("gate").score) == 1
    assert len(attention("gate", layers=2).score) == 5


@pytest.mark.parametrize(
    ("options", "numbers", "why"),
    [
        ({"pooling": ["max"], "condition": "gate"}, 2, "condition = gate is of attention"),
        ({"pooling": ["max"], "attention_layers": 2}, 0, "attention_layers = 2 is of attention"),
        ({"condition": "affine"}, 0, "condition = affine needs a lexicon, and there is none"),
    ],
)
def test_what_conditions_nothing_is_refused(options, numbers, why):
    with pytest.raises(ValueError, match=why):
        Pools(PoolingConfig(**options), 6, both_ways=True, known=numbers)


def classifier(**options):
    torch.manual_seed(0)
    config = ClassifierConfig(encoder=encoder_config(), labels=["no", "yes"], **options)
    return ClassifyingModel(config, Vocabulary.of(SENTENCES).with_lexicon(LEXICON)).eval()


def test_a_word_has_the_numbers_of_its_key():
    vocabulary = Vocabulary.of(SENTENCES).with_lexicon({**LEXICON, "UMA": [9.0, 9.0]})
    assert vocabulary.numbers == 2
    types = vocabulary.spell([["uma", "Havre", "ran", "absent"]], buckets=0).types
    # Also of a word that the vocabulary does not know; of one that is not there, zeros.
    expected = [[1.0, 0.5], [-1.0, 0.25], [0.0, 0.0], [3.0, 4.0]]
    torch.testing.assert_close(types.lexicon, torch.tensor(expected))
    assert Vocabulary.of(SENTENCES).spell([["a"]], buckets=0).types.lexicon.shape == (1, 0)
    assert vocabulary.spell([[]], buckets=0).types.lexicon.shape == (0, 2)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_conditioned_classifier_is_saved_and_loaded(tmp_path, name):
    model = classifier(condition=name, attention_layers=2)
    model.save_pretrained(tmp_path)
    again = ClassifyingModel.from_pretrained(tmp_path)
    assert again.vocabulary.lexicon == model.vocabulary.lexicon
    for asked in (ClassifyingModel.predict_proba, ClassifyingModel.attention):
        for one, two in zip(
            *(asked(each, [*SENTENCES, []]) for each in (model, again)), strict=True
        ):
            assert torch.equal(one, two)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_text_is_classified_alike_whatever_stands_beside_it(name):
    model = classifier(condition=name, pooling=["attention", "mean"])
    together = model.predict_proba(SENTENCES)
    for words, found in zip(SENTENCES, together, strict=True):
        torch.testing.assert_close(model.predict_proba([words])[0], found)
    batch = model.vocabulary.spell(SENTENCES, buckets=model.buckets).batch([0, 1, 2])
    model.train().loss(batch, torch.tensor([0, 1, 0])).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name


@pytest.mark.parametrize(
    "lexicon", ['{"a": [1], "b": [1, 2]}', '{"a": 1}', '{"a": ["x"]}', "[1]", '{"a": []}']
)
def test_a_damaged_lexicon_is_refused(tmp_path, lexicon):
    (tmp_path / "v.json").write_text(f'{{"words": [], "characters": [], "lexicon": {lexicon}}}')
    with pytest.raises(ValueError, match="the vocabulary is damaged"):
        Vocabulary.load(tmp_path / "v.json")
