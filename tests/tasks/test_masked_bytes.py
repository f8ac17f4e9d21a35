"""Passages of text in which bytes are hidden."""

import pytest
import torch

from statewise.tasks import examples, passages
from statewise.tasks.masked_bytes import HIDDEN, MaskedBytes

TEXT = passages.of("to be or not to be")


def drawn(seed=0, **options):
    return MaskedBytes(TEXT, **options).draw(500, 4, torch.Generator().manual_seed(seed))


def test_hidden_bytes_ask_for_themselves_and_are_not_seen():
    batch = drawn(share=0.25)
    assert {tuple(row.tolist()) for row in batch.targets} <= {
        tuple(row.tolist()) for row in TEXT.unfold(0, 4, 1)
    }
    assert (batch.tokens[batch.mask] == HIDDEN).all()
    assert torch.equal(batch.tokens[~batch.mask], batch.targets[~batch.mask])
    assert batch.mask.double().mean().item() == pytest.approx(0.25, abs=0.04)


def test_the_generator_alone_decides():
    assert isinstance(MaskedBytes(TEXT), examples.Source)
    before = torch.random.get_rng_state()
    first, again, other = (drawn(seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))
    assert not torch.equal(first.tokens, other.tokens)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_something_is_hidden_and_something_seen(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MaskedBytes(TEXT, share)
