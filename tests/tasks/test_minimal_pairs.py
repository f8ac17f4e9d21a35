"""Minimal pairs: what is exchanged, how they are balanced, and who is right."""

import pytest
import torch

from statewise.tasks.minimal_pairs import MinimalPairs, minimal_pairs, preferred

TEXT = torch.tensor([9, 1, 8, 7, 1, 6, 5, 2, 4, 3, 1])


def test_one_symbol_is_exchanged_and_rivals_come_as_often():
    pairs = minimal_pairs(TEXT, [(1, 2)], before=1, after=2)
    assert pairs.passages.tolist() == [[9, 1, 8, 7], [5, 2, 4, 3]]
    assert pairs.exchanged.tolist() == [[9, 2, 8, 7], [5, 1, 4, 3]]
    assert torch.equal(TEXT, torch.tensor([9, 1, 8, 7, 1, 6, 5, 2, 4, 3, 1]))
    both = minimal_pairs(TEXT, [(1, 2), (7, 4)], before=1, after=1)
    assert both.passages[2:].tolist() == [[8, 7, 1], [2, 4, 3]]
    with pytest.raises(ValueError, match=r"a text of 11 symbols has no two rivals of \[\(1, 0\)\]"):
        minimal_pairs(TEXT, [(1, 0)], before=1, after=1)


def test_who_prefers_one_word_is_right_in_half_and_who_knows_always():
    pairs = minimal_pairs(torch.randint(5, (400,)), [(1, 2), (3, 4)], before=2, after=1)
    taste = torch.randn(5)

    def fond(tokens):
        return taste.expand(*tokens.shape, 5), None

    assert preferred(fond, pairs) == 0.5
    (counted,) = torch.tensor([0, 1, 2, 3, 4] * 20)[None]
    counting = minimal_pairs(counted, [(1, 2), (3, 4)], before=2, after=1)

    def knowing(tokens):
        return 9.0 * torch.nn.functional.one_hot((tokens + 1) % 5, 5), None

    assert preferred(knowing, counting) == 1.0
    assert preferred(knowing, MinimalPairs(counting.exchanged, counting.passages)) == 0.0
