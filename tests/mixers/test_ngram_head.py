"""N-gram heads beside their definition, which compares the symbols themselves."""

import pytest
import torch

from statewise.mixers import NgramHead


def made(dim, **options):
    mixer = NgramHead(dim, **options)
    torch.nn.init.normal_(mixer.output.weight)
    return mixer


def followed(tokens, vectors, order):
    """Return the mean vector of what followed each context before, zero for a new one."""
    padded = [None] * (order - 1) + tokens
    contexts = [padded[end : end + order - 1] for end in range(len(tokens) + 1)]
    found = []
    for t in range(len(tokens)):
        same = [vectors[tokens[u]] for u in range(t + 1) if contexts[u] == contexts[t + 1]]
        found.append(torch.stack(same).mean(0) if same else torch.zeros_like(vectors[0]))
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize("orders", [(1,), (2,), (1, 2, 3), (4, 2)])
def test_what_followed_is_averaged(orders):
    torch.manual_seed(0)
    vectors = torch.randn(3, 8).double()
    tokens = torch.randint(3, (40,)).tolist()
    mixer = made(8, orders=orders, slots=9973).double()
    parts = [vectors[tokens], *(followed(tokens, vectors, n) for n in orders)]
    y, state = mixer(vectors[tokens][None])
    torch.testing.assert_close(y[0], mixer.output(torch.cat(parts, -1)))
    assert state.S[..., -1].sum((0, 2)).tolist() == [40] * len(orders)


@torch.no_grad()
def test_contexts_of_one_slot_are_one():
    torch.manual_seed(0)
    mixer, x = made(6, orders=(1, 3), slots=1), torch.randn(2, 9, 6)
    mean = x.cumsum(1) / torch.arange(1, 10)[:, None]
    torch.testing.assert_close(mixer(x)[0], mixer.output(torch.cat([x, mean, mean], -1)))


@torch.no_grad()
def test_rounding_does_not_part_inputs():
    torch.manual_seed(0)
    mixer, x = made(6), torch.randn(1, 4, 6).repeat(1, 5, 1)
    near = mixer(x * (1 + 1e-6 * torch.randn_like(x)))[0]
    torch.testing.assert_close(near, mixer(x)[0], rtol=1e-4, atol=1e-4)


def test_sizes_are_refused():
    for orders in ((), (2, 2), (0, 1)):
        with pytest.raises(ValueError, match="should differ, and be 1 or more"):
            NgramHead(4, orders=orders)
    for slots, bits in ((0, 16), (4, 25), (4, 0)):
        with pytest.raises(ValueError, match="should be at least 1, and bits"):
            NgramHead(4, slots=slots, bits=bits)
