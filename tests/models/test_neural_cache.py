import math

import pytest
import torch
from torch.utils._pytree import tree_leaves

from statewise.models import LanguageModel, LanguageModelConfig
from statewise.models.neural_cache import EMPTY, NeuralCache
from statewise.tasks.language import bits_per_byte


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = LanguageModel(LanguageModelConfig(vocab=7, dim=8, depth=1, mixer="gru", tie=False))
    return made.double().eval()


TOKENS = torch.randint(7, (3, 20), generator=torch.Generator().manual_seed(1))


def by_hand(model, tokens, size, weight, sharpness):
    """The closed form for one document, as loops over times and words."""
    h = model.features(tokens[None])[0][0]
    usual = model(tokens[None])[0][0].softmax(-1)
    answers = []
    for t in range(len(tokens)):
        shares = torch.zeros(7, dtype=torch.float64)
        for i in range(max(0, t - size), t):
            shares[tokens[i + 1]] += torch.exp(sharpness * h[t] @ h[i])
        total = shares.sum()
        p = usual[t] if total == 0 else (1 - weight) * usual[t] + weight * shares / total
        answers.append(p)
    return torch.stack(answers)


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_is_the_closed_form_and_sums_to_one(model, size, weight):
    cached = NeuralCache(model, size=size, weight=weight, sharpness=0.7)
    found = cached(TOKENS)[0].exp()
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 20, dtype=torch.float64))
    for row, tokens in zip(found, TOKENS, strict=True):
        torch.testing.assert_close(row, by_hand(model, tokens, size, weight, 0.7))


def test_pieces_and_steps_are_the_whole(model, monkeypatch):
    monkeypatch.setattr("statewise.models.neural_cache.TIMES", 3)
    cached = NeuralCache(model, size=5, weight=0.4, sharpness=0.7)
    whole, last = cached(TOKENS)
    state, answers = cached.initial_state(3), []
    for token in TOKENS[:, :4].unbind(1):
        y, state = cached.step(token, state)
        answers.append(y[:, None])
    for piece in TOKENS[:, 4:].split(7, 1):
        y, state = cached(piece, state)
        answers.append(y)
    torch.testing.assert_close((torch.cat(answers, 1), state), (whole, last))
    numbers = sum(leaf[0].numel() for leaf in tree_leaves(last))
    assert numbers == cached.state_size(20) == cached.state_size(1)
    y, same = cached(TOKENS[:, :0], last)
    assert y.shape == (3, 0, 7)
    torch.testing.assert_close(same, last)


def test_a_reset_empties_the_cache(model):
    cached = NeuralCache(model, size=50, weight=0.4, sharpness=0.7)
    reset = torch.zeros(3, 20, dtype=torch.bool)
    reset[0, 8] = reset[1, 0] = reset[1, 15] = True
    before = cached(TOKENS[:, :6])[1]
    y, after = cached(TOKENS, before, reset=reset)
    fresh, end = cached(TOKENS[:1, 8:])
    torch.testing.assert_close(y[:1, 8:], fresh)
    torch.testing.assert_close(after.words[:1], end.words)
    torch.testing.assert_close(after.features[:1], end.features)
    torch.testing.assert_close(y[1:2, :15], cached(TOKENS[1:2, :15])[0])
    torch.testing.assert_close(y[2:], cached(TOKENS, before)[0][2:])


def test_padding_may_be_anything(model):
    cached = NeuralCache(model, size=6, weight=0.4, sharpness=0.7)
    padded, before = TOKENS.clone(), cached(TOKENS)[1]
    padded[1, 9:], padded[2] = 999, -100
    y, after = cached(padded, before, lengths=torch.tensor([20, 9, 0]))
    short, end = cached(TOKENS[:, :9], before)
    torch.testing.assert_close(y[1, :9], short[1])
    assert not y[1, 9:].any()
    assert not y[2].any()
    for name in ("features", "words", "last", "begun"):
        torch.testing.assert_close(getattr(after, name)[1], getattr(end, name)[1])
        torch.testing.assert_close(getattr(after, name)[2], getattr(before, name)[2])


def test_what_comes_again_costs_less(model):
    text = torch.randint(7, (40,)).repeat(6)
    usual = bits_per_byte(model, [text], len(text))
    cached = NeuralCache(model, size=60, weight=0.5, sharpness=3.0)
    assert bits_per_byte(cached, [text], len(text), context=33) < usual - 0.3
    whole = bits_per_byte(cached, [text], len(text))
    assert math.isclose(bits_per_byte(cached, [text], len(text), context=33), whole)


def test_an_empty_place_is_no_word(model):
    state = NeuralCache(model, size=4).initial_state(2)
    assert (state.words == EMPTY).all()
    assert not state.begun.any()


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": 3, "weight": 1.1}, {"size": 3, "sharpness": -1.0}]
)
def test_numbers_out_of_range_are_refused(model, options):
    with pytest.raises(ValueError, match="neural cache: size"):
        NeuralCache(model, **options)
