"""The embedded Reber grammar: its strings are those of the diagram, written down once more."""

import pytest
import torch

from statewise.tasks import examples
from statewise.tasks.examples import LastAnswer
from statewise.tasks.reber import SHORTEST, SYMBOLS, EmbeddedReber, right_so_far

EDGES = ["aBb", "bTc", "bPd", "cSc", "cXe", "dTd", "dVf", "eXd", "eSg", "fPe", "fVg", "gEz"]
"""Reber's diagram: from, symbol, to."""


def inner(longest):
    """Return all strings of Reber's grammar up to a length."""
    found, open_ = set(), {("a", "")}
    while open_:
        found |= {word for place, word in open_ if place == "z"}
        open_ = {
            (to, word + symbol)
            for place, word in open_
            for begin, symbol, to in EDGES
            if begin == place and len(word) < longest
        }
    return found


LANGUAGE = {f"B{outer}{word}{outer}E" for outer in "TP" for word in inner(10)}
BEGINNINGS = {word[:end] for word in LANGUAGE for end in range(len(word) + 1)}


def drawn(length=14, batch=600, seed=0):
    return EmbeddedReber().draw(batch, length, torch.Generator().manual_seed(seed))


def words(batch):
    return ["".join(SYMBOLS[token] for token in row).lstrip(".") for row in batch.tokens.tolist()]


def test_answers_are_those_of_the_diagram():
    batch = drawn()
    for word, targets in zip(words(batch), batch.targets.tolist(), strict=True):
        assert SHORTEST <= len(word) <= 14
        # Long beginnings may need more symbols than the enumeration has.
        whole = targets[-1] == 1
        assert whole == (word in LANGUAGE)
        found = targets[-len(word) :]
        right = found.index(0) if 0 in found else len(found)
        assert found == [1] * right + [0] * (len(found) - right)
        assert word[:right] in BEGINNINGS or right > 8
        if not whole:
            assert word[: right + 1] not in BEGINNINGS
    assert min(map(len, words(batch))) == SHORTEST
    answers = torch.tensor([EmbeddedReber().solve(row) for row in batch.tokens.tolist()])
    assert examples.accuracy(answers, batch) == 1.0


def test_half_are_wrong_and_half_of_those_far_away():
    batch = drawn(batch=3000)
    last = LastAnswer(EmbeddedReber()).draw(3000, 14, torch.Generator().manual_seed(0))
    assert 0.47 < batch.targets[:, -1].double().mean() < 0.53
    assert examples.chance(last) < 0.53
    wrong = [word for word, end in zip(words(batch), batch.targets[:, -1], strict=True) if not end]
    far = [word for word in wrong if right_so_far(word).index(False) == len(word) - 2]
    assert 0.5 < len(far) / len(wrong) < 0.7
    assert len(set(words(batch))) > 200


def test_a_length_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="length is 8; an embedded string has 9 or more"):
        drawn(length=8)
