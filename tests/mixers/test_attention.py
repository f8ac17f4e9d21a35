"""Attention beside an explicit softmax, and what its state holds."""

import pytest
import torch

from statewise.mixers import Attention


def explicit(mixer, x):
    """Return the outputs, one position and one sum after another."""
    batch, time, dim = x.shape
    heads = mixer.heads
    half = dim // heads // 2
    q, k, v = mixer.query_key_value(x).view(batch, time, 3, heads, 2 * half).unbind(2)
    angle = torch.arange(time)[:, None] * 10000.0 ** -(torch.arange(half) / half).double()
    turn = torch.polar(torch.ones_like(angle), angle)[:, None]
    q, k = (torch.complex(part[..., :half], part[..., half:]) * turn for part in (q, k))
    ys = []
    for t in range(time):
        seen = slice(0 if mixer.window is None else max(0, t + 1 - mixer.window), t + 1)
        scores = torch.einsum("bhd,bshd->bhs", q[:, t], k[:, seen].conj()).real
        weight = (scores / (2 * half) ** 0.5).softmax(-1)
        ys.append(torch.einsum("bhs,bshd->bhd", weight, v[:, seen]).flatten(1))
    return mixer.output(torch.stack(ys, 1))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


# 150 positions are three pieces for a window below 64, and two for one of 100.
@pytest.mark.parametrize("window", [None, 1, 5, 100])
def test_equals_an_explicit_softmax(window):
    mixer = Attention(8, heads=2, window=window).double()
    x = torch.randn(2, 150, 8).double()
    expected = explicit(mixer, x)
    y, state = mixer(x)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
    assert state.keys.shape == (2, window or 150, 2, 4)
    assert sum(leaf[0].numel() for leaf in state) == mixer.state_size(150)


@pytest.mark.parametrize("window", [None, 3])
def test_slots_hold_the_positions_since_the_reset_and_empty_ones_zeros(window):
    mixer = Attention(4, heads=2, window=window)
    reset = torch.zeros(2, 9, dtype=torch.bool)
    reset[0, 7] = True
    x = torch.randn(2, 9, 4)
    _, state = mixer(x, reset=reset, lengths=torch.tensor([9, 4]))
    assert state.position.tolist() == [2, 4]
    values = mixer.query_key_value(x).view(2, 9, 3, 2, 2)[:, :, 2]
    torch.testing.assert_close(state.values[0, :2], values[0, 7:9])
    assert not state.values[0, 2:].any()
    last = {None: [0, 1, 2, 3], 3: [3, 1, 2]}[window]  # position 3 took slot 0 of the ring
    torch.testing.assert_close(state.values[1, : len(last)], values[1, last])


def test_a_nan_is_seen_by_those_that_see_it_and_by_no_other():
    mixer = Attention(4, heads=2, window=3)
    x = torch.randn(1, 9, 4)
    x[0, 2] = torch.nan
    y, _ = mixer(x)
    assert y.isnan().all(-1)[0].tolist() == [False, False, True, True, True] + 4 * [False]


def test_positions_stay_exact_in_a_long_stream():
    mixer = Attention(4, heads=1, window=2).double()
    x = torch.randn(1, 3, 4).double()
    start = mixer.initial_state(1)
    near, far = (mixer(x, start._replace(position=torch.tensor([p])))[0] for p in (2, 10**9))
    torch.testing.assert_close(near, far, rtol=0, atol=1e-6)


def test_options_that_do_not_fit_are_refused_in_words():
    with pytest.raises(ValueError, match="heads = 3 should divide dim = 8"):
        Attention(8, heads=3)
    with pytest.raises(ValueError, match="window = 0 should be at least 1"):
        Attention(8, window=0)
    with pytest.raises(ValueError, match="key_heads = 3 should divide heads = 4"):
        Attention(8, key_heads=3)
    with pytest.raises(ValueError, match="turn 1 of them by their positions"):
        Attention(8, heads=4, rotary_share=0.5)
    with pytest.raises(ValueError, match=r"rotary_share = 1[.]5 should be in"):
        Attention(8, rotary_share=1.5)
