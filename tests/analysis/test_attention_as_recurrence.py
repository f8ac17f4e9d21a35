"""Linear attention as a gated recurrence, beside the loop that defines it."""

import pytest
import torch

from statewise.analysis.attention_as_recurrence import as_recurrence, division, undivided


@pytest.mark.parametrize(("dim", "keys", "out"), [(4, 4, 4), (3, 2, 5), (1, 1, 1)])
def test_it_is_linear_attention(dim, keys, out):
    query, key = torch.randn(2, keys, dim, dtype=torch.float64)
    value, x = (torch.randn(n, dim, dtype=torch.float64) for n in (out, 30))
    model = as_recurrence(query, key, value)
    S, wanted = torch.zeros(out, keys, dtype=torch.float64), []
    for x_t in x:
        S = S + torch.outer(value @ x_t, key @ x_t)
        wanted.append(S @ (query @ x_t))
    torch.testing.assert_close(model(x[None])[0], torch.stack(wanted), rtol=1e-10, atol=1e-10)
    assert len(model.keep) == keys * (out + 1)
    # Nothing forgotten and nothing kept are what make it so.
    model.keep.data.clamp_(max=2.0)
    assert not torch.allclose(model(x[None])[0], torch.stack(wanted), rtol=1e-2)


def test_a_division_is_a_step_and_a_decay():
    q, k, v = torch.rand(3, 2, 20, 4, dtype=torch.float64)
    weights = (q @ k.mT).tril()
    torch.testing.assert_close(undivided(q, k, v), weights @ v / weights.sum(-1, keepdim=True))
    step, log_decay = division(q, k)
    assert step[:, 1:].std() > 0
    # Of equal queries the sum grows, and what is kept is less than all.
    assert (division(q[:, :1].expand_as(q), k).log_decay <= 0).all()
    assert (log_decay > 0).any()
