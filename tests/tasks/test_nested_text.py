"""Nested text: what opens closes in order, and places are told rightly."""

import torch

from statewise.tasks.nested_text import DEEPEST, PAIRS, closed_after, inside_quotes, nested_text


def made(length, seed=0):
    return nested_text(length, torch.Generator().manual_seed(seed))


def test_what_opens_closes_in_order():
    text, waiting, most = made(20_000), [], 0
    assert len(text) == 20_000
    for symbol in text:
        if waiting and symbol == PAIRS[waiting[-1]]:
            waiting.pop()
        elif symbol in PAIRS:
            assert symbol != '"' or not waiting
            waiting.append(symbol)
            most = max(most, len(waiting))
        else:
            assert symbol == " " or symbol.isalpha()
    assert most == DEEPEST
    assert "  " not in text
    assert not any(kind + end in text for kind, end in PAIRS.items() if kind != end)
    assert made(50) == text[:50] != made(50, seed=1)


def test_fewer_words_are_all_that_stands_there():
    text = nested_text(5000, torch.Generator().manual_seed(0), words=("ba", "ko"))
    assert {symbol for symbol in text if symbol.isalpha()} == set("bako")


def test_places_are_told():
    text = 'a (b "c [d]" e) f]'
    inside = inside_quotes(text)
    assert [symbol for symbol, quoted in zip(text, inside, strict=True) if quoted] == list('"c [d]')
    closed = closed_after(text)
    assert closed.nonzero()[:, 0].tolist() == [text.index("]"), text.index(")")]
    assert closed[text.index(")")] == text.index(")") - text.index("(")
    assert closed[text.index("]")] == 2
