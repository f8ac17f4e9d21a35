import pytest
import torch

from statewise.tasks import passages
from statewise.tasks.documents import manual
from statewise.tasks.passages import Passages


def test_each_target_is_the_byte_after():
    text = passages.of("to be, être")
    assert len(text) == len("to be, être".encode())
    tokens, targets, mask, _ = Passages(text).draw(50, 4, torch.Generator().manual_seed(0))
    assert torch.equal(tokens[:, 1:], targets[:, :-1])
    assert mask.all()
    read = bytes(text.tolist())
    whole = torch.cat([tokens, targets[:, -1:]], 1)
    starts = {read.index(bytes(row)) for row in whole.tolist()}
    assert starts == set(range(len(text) - 4))


def test_a_passage_has_to_fit_into_the_text():
    with pytest.raises(ValueError, match="the text has 4"):
        Passages(passages.of("to b")).draw(1, 4, torch.Generator())


def test_words_are_numbered_by_how_often_they_come():
    seen, held_out = passages.words_of_manual(100)
    assert seen.vocab == held_out.vocab == 100
    times = seen.text.bincount(minlength=100)
    assert len(times) == 100
    assert (times[1:].diff() <= 0).all()
    assert times[0] > 0
    assert held_out.text.max() < 100
    assert 6 * len(held_out.text) < len(seen.text) < 12 * len(held_out.text)
    symbols = passages.symbols_of_manual(100)
    assert sorted(symbols.values()) == list(range(1, 100))
    the = sum(int((part.text == symbols["the"]).sum()) for part in (seen, held_out))
    assert the == passages.WORD.findall(manual()).count("the")
