"""Word vectors from text without labels."""

import random

import pytest
import torch
from torch.nn.functional import cosine_similarity

from statewise.models.spelling import grams
from statewise.models.vectors import read_vectors
from statewise.training.skip_grams import SkipGrams, learn_vectors, neighbours


def test_neighbours_are_those_within_reach():
    sentences = [[1, 2, 3, 4], [5], [], [6, 7]]
    near = neighbours(sentences, 1, torch.Generator())
    wanted = [(1, 2), (2, 3), (3, 4), (2, 1), (3, 2), (4, 3), (6, 7), (7, 6)]
    assert sorted(map(tuple, near.tolist())) == sorted(wanted)
    # A reach is drawn from 1 to 3: two apart are neighbours in two of three cases.
    many = neighbours([[0, 1, 2]] * 3000, 3, torch.Generator().manual_seed(0)).tolist()
    assert many.count([0, 1]) == many.count([1, 0]) == many.count([1, 2]) == 3000
    assert many.count([0, 2]) / 3000 == pytest.approx(2 / 3, abs=0.04)


def test_the_loss_is_its_formula():
    torch.manual_seed(0)
    model = SkipGrams(["ab", "cd", "e"], 4, 7).double()
    torch.nn.init.normal_(model.contexts.weight)
    bags = [torch.tensor(model.bag(word)) for word in ("ab", "E")]
    z = torch.stack([model.parts.weight[bag].mean(0) for bag in bags])
    assert bags[0].tolist() == [0, *(2 + gram for gram in grams("ab", 7))]
    near, drawn = torch.tensor([1, 0]), torch.tensor([[2, 1, 1], [0, 2, 1]])
    v = model.contexts.weight
    wanted = sum(
        -(z[p] @ v[near[p]]).sigmoid().log() - sum((-z[p] @ v[n]).sigmoid().log() for n in drawn[p])
        for p in range(2)
    )
    torch.testing.assert_close(model.loss(bags, near, drawn), wanted)


def stories(count):
    """Return sentences in which beasts stand by one verb and tools by another, in any form."""
    draw = random.Random(0)
    kinds = {"eats": ("wolf", "hare", "lynx"), "cuts": ("saws", "knif", "axes")}
    return [
        ["the", draw.choice(kinds[verb]) + draw.choice(("", "um", "ami")), verb, draw.choice("xyz")]
        for verb in draw.choices(list(kinds), k=count)
    ]


OPTIONS = {"dim": 8, "window": 2, "epochs": 10, "seed": 1}


def alike(model, one, other):
    """Return the cosine of two vectors, less what all words have in common."""
    middle = torch.stack([model.vector(word) for word in model.words]).mean(0)
    vectors = (model.vector(word) - middle for word in (one, other))
    return float(cosine_similarity(*vectors, dim=0))


@pytest.mark.parametrize("buckets", [0, 500])
def test_words_in_the_same_places_are_alike(buckets):
    model = learn_vectors(stories(600), buckets=buckets, **OPTIONS)
    same = [
        alike(model, *pair) for pair in (("wolf", "hare"), ("lynx", "hareum"), ("saws", "axes"))
    ]
    others = [alike(model, *pair) for pair in (("wolf", "axes"), ("hareum", "saws"))]
    assert min(same) > 0.2 + max(others)
    again = learn_vectors(stories(600), buckets=buckets, **OPTIONS)
    assert torch.equal(again.parts.weight, model.parts.weight)


def test_a_new_form_is_like_those_that_are_known():
    model = learn_vectors(stories(600), buckets=500, **OPTIONS)
    assert "lynxes" not in model.words
    assert alike(model, "lynxes", "wolf") > alike(model, "lynxes", "saws") + 0.2


def test_the_file_is_one_that_words_can_begin_with(tmp_path):
    model = learn_vectors(stories(50), dim=3, epochs=1, buckets=20)
    model.save(tmp_path / "own.vec", ["Lynxes"])
    found, dim = read_vectors(tmp_path / "own.vec", set(), first=1000)
    assert dim == 3
    assert list(found) == [*model.words, "lynxes"]
    for word, vector in found.items():
        torch.testing.assert_close(vector, model.vector(word), atol=1e-5, rtol=1e-5)


def test_windows_are_vectors_side_by_side():
    model = learn_vectors([["one", "two", "six"]] * 2, dim=2, epochs=1, buckets=5)
    found = model.windows([["two", "one", "six"], ["six"]], 1)
    one, two, six = map(model.vector, ("one", "two", "six"))
    nothing = torch.zeros(2)
    rows = [(nothing, two, one), (two, one, six), (one, six, nothing), (nothing, six, nothing)]
    torch.testing.assert_close(found, torch.stack([torch.cat(row) for row in rows]))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="no two words that stand 2 times"):
        learn_vectors([["one", "two"], ["three"]])
    whole = learn_vectors([["one", "two"]] * 2, dim=2, buckets=0, epochs=1)
    with pytest.raises(ValueError, match="no vector of 'six'"):
        whole.vector("six")
