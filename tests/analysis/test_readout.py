"""The ridge readout beside its closed form on all rows at once."""

import pytest
import torch

from statewise.analysis.readout import Ridge
from statewise.mixers import EchoState


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def closed_form(y, target, penalty):
    """Return W and b from the stacked system  [y, 1; sqrt(penalty) I, 0] [W; b] = [target; 0]."""
    rows = torch.cat([y, torch.ones(len(y), 1, dtype=y.dtype)], 1)
    damp = penalty**0.5 * torch.eye(y.shape[1], y.shape[1] + 1, dtype=y.dtype)
    zeros = torch.zeros(y.shape[1], target.shape[1], dtype=y.dtype)
    found = torch.linalg.lstsq(torch.cat([rows, damp]), torch.cat([target, zeros])).solution
    return found[:-1].T, found[-1]


def drawn(batch=3, time=40, features=5, targets=2):
    y = torch.randn(batch, time, features, dtype=torch.float64) + 3
    return y, torch.randn(batch, time, targets, dtype=torch.float64) - 7


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("piece", [40, 7])
def test_pieces_give_the_closed_form(penalty, piece):
    y, target = drawn()
    readout = Ridge(5, 2, penalty=penalty, washout=10)
    for part, aim in zip(y.split(piece, 1), target.split(piece, 1), strict=True):
        readout.add(part, aim)
    made = readout.fit(dtype=torch.float64)
    weight, bias = closed_form(y[:, 10:].flatten(0, 1), target[:, 10:].flatten(0, 1), penalty)
    torch.testing.assert_close(made.weight.data, weight, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(made.bias.data, bias, rtol=1e-9, atol=1e-9)


def test_each_stream_has_a_washout_and_a_length():
    y, target = drawn()
    readout = Ridge(5, 2, penalty=0.1, washout=6)
    first = torch.tensor([40, 3, 25])
    padding = torch.arange(40) >= first[:, None]
    readout.add(torch.where(padding[..., None], torch.nan, y), target, lengths=first)
    readout.restart()
    readout.add(y.flip(0), target)
    assert readout.rows == (40 - 6) + (25 - 6) + 3 * (40 - 6)
    rows = [y[0, 6:], y[2, 6:25], *y.flip(0)[:, 6:]]
    aims = [target[0, 6:], target[2, 6:25], *target[:, 6:]]
    weight, bias = closed_form(torch.cat(rows), torch.cat(aims), 0.1)
    made = readout.fit(dtype=torch.float64)
    torch.testing.assert_close(made.weight.data, weight)
    torch.testing.assert_close(made.bias.data, bias)


def test_features_that_repeat_others_need_no_penalty():
    y, target = drawn(features=3)
    readout = Ridge(6, 2, penalty=0.0)
    readout.add(torch.cat([y, y], 2), target)
    made = readout.fit(dtype=torch.float64)
    single, _ = closed_form(y.flatten(0, 1), target.flatten(0, 1), 0.0)
    torch.testing.assert_close(made.weight.data, torch.cat([single, single], 1) / 2)


def test_a_reservoir_recalls_what_it_read():
    reservoir = EchoState(1, 60, radius=0.9, density=0.2, input_scale=0.5)
    x = 2 * torch.rand(1, 1500, 1) - 1
    target = torch.roll(x, 5, 1)
    readout = Ridge(60, 1, penalty=1e-6, washout=100)
    y, state = reservoir(x[:, :1000])
    readout.add(y, target[:, :1000])
    predict = readout.fit()
    unseen = predict(reservoir(x[:, 1000:], state)[0])
    error = (unseen - target[:, 1000:]).square().mean() / target.var()
    assert error < 0.05  # what is unknown has an error of 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"penalty = -1\.0"):
        Ridge(5, 2, penalty=-1.0)
    readout = Ridge(5, 2, washout=50)
    with pytest.raises(ValueError, match="should be \\(batch, time, 5\\)"):
        readout.add(torch.zeros(1, 3, 4), torch.zeros(1, 3, 2))
    readout.add(*drawn())
    with pytest.raises(ValueError, match="beyond a washout of 50"):
        readout.fit()
