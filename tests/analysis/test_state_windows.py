"""Linear attention over a window, as the difference of two states."""

import pytest
import torch

from statewise.analysis.state_windows import WindowedMamba2, windowed
from statewise.mixers import Mamba2
from statewise.ops.linear_attention import linear_attention


@pytest.mark.parametrize("window", [1, 5, 30])
def test_the_difference_is_the_sum_over_the_window(window):
    torch.manual_seed(0)
    batch, time, heads = 2, 23, 3
    query, key = torch.randn(2, batch, time, 1, 4, dtype=torch.float64)
    value = torch.randn(batch, time, heads, 5, dtype=torch.float64)
    log_decay = -torch.rand(batch, time, heads, dtype=torch.float64)
    start = torch.zeros(batch, heads, 4, 5, dtype=torch.float64)
    run = windowed(lambda op, *given, **options: op(*given, **options), window)
    y, S = run(linear_attention, query, key, value, log_decay=log_decay, initial=start)
    kept = log_decay.cumsum(1)
    back = torch.arange(time)[:, None] - torch.arange(time)
    seen = (back >= 0) & (back < window)
    weight = (kept[:, :, None] - kept[:, None]).exp() * seen[None, ..., None]
    weight = weight * (query[:, :, None, 0] * key[:, None, :, 0]).sum(-1)[..., None]
    torch.testing.assert_close(y, torch.einsum("btsh,bshv->bthv", weight, value))
    last = (kept[:, -1:] - kept).exp() * seen[-1, :, None]
    torch.testing.assert_close(S, torch.einsum("bth,btk,bthv->bhkv", last, key[:, :, 0], value))


def test_a_window_has_an_input():
    with pytest.raises(ValueError, match="window = 0 should be at least 1"):
        windowed(linear_attention, 0)


def test_mamba2_by_a_window_forgets_what_stood_before_it():
    torch.manual_seed(0)
    whole = Mamba2(6, state=4, head=3).double()
    mixer = WindowedMamba2(6, window=5, state=4, head=3).double()
    mixer.load_state_dict(whole.state_dict())
    x = torch.randn(2, 20, 6, dtype=torch.float64)
    torch.testing.assert_close(mixer(x[:, :5])[0], whole(x[:, :5])[0])
    # The convolution brings in three inputs before the window of the last five.
    other = x.clone()
    other[:, :12] = 0.0
    torch.testing.assert_close(mixer(other)[0][:, -1], mixer(x)[0][:, -1])
    assert not torch.allclose(whole(other)[0][:, -1], whole(x)[0][:, -1])
