"""Linear attention as a gated recurrence, beside the loop that defines it."""

import pytest
import torch

from statewise.analysis.attention_as_recurrence import as_recurrence


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
