"""Time-delay layers beside torch's convolution."""

import pytest
import torch
from torch.nn.functional import conv1d, pad

from statewise.mixers import TimeDelay


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_equals_torch_s_convolution_between_resets(width, hidden):
    mixer = TimeDelay(4, hidden, width=width).double()
    x = torch.randn(2, 19, 4).double()
    reset = torch.zeros(2, 19, dtype=torch.bool)
    reset[:, [6, 8]] = True
    weight = mixer.window.weight.unflatten(1, (width, 4)).mT
    expected = [
        conv1d(pad(part.mT, (width - 1, 0)), weight, mixer.window.bias).mT
        for part in x.tensor_split([6, 8], 1)
    ]
    torch.testing.assert_close(mixer(x, reset=reset)[0], torch.cat(expected, 1))


def test_goes_through_what_is_asked():
    plain, squashed = TimeDelay(3), TimeDelay(3, activation="tanh")
    squashed.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(squashed(x)[0], plain(x)[0].tanh())


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="time_delay: width = 0 should be at least 1"):
        TimeDelay(3, width=0)
    with pytest.raises(ValueError, match="time_delay: activation = 'gelu' should be one of none"):
        TimeDelay(3, activation="gelu")
