"""TCN beside torch's own convolutions, and how far it looks back."""

import pytest
import torch
from torch.nn.functional import conv1d, pad

from statewise.mixers import TCN


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def convolved(mixer, x):
    """Return the outputs of a batch, (batch, time, dim), by torch's convolutions."""
    m = x.mT
    for block in range(len(mixer.gaps) // 2):
        gap, z = 2**block, m
        for layer in mixer.convolutions[2 * block : 2 * block + 2]:
            rows = layer.direction / layer.direction.norm(dim=1, keepdim=True)
            taps = (layer.length[:, None] * rows).unflatten(1, (mixer.width, -1)).mT
            z = pad(z, ((mixer.width - 1) * gap, 0))
            z = conv1d(z, taps, layer.bias, dilation=gap).relu()
        around = m if block or mixer.dim == mixer.hidden else mixer.around(m.mT).mT
        m = (z + around).relu()
    return m.mT


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize(("blocks", "width"), [(1, 1), (1, 4), (3, 2)])
def test_equals_torch_s_convolutions_between_resets(hidden, blocks, width):
    mixer = TCN(5, hidden, blocks=blocks, width=width).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    x = torch.randn(2, 23, 5).double()
    reset = torch.zeros(2, 23, dtype=torch.bool)
    reset[:, [7, 9]] = True
    y, _ = mixer(x, reset=reset)
    expected = [convolved(mixer, part) for part in x.tensor_split([7, 9], 1)]
    torch.testing.assert_close(y, torch.cat(expected, 1))


def test_sees_as_far_as_it_says():
    mixer = TCN(2, 8, blocks=3, width=3)
    for parameter in mixer.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 0.5)  # no relu is shut
    x = torch.rand(1, 40, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(x)[0][0, -1].sum(), x)
    reach = 1 + 2 * 2 * (2**3 - 1)
    assert gradient[0, -reach:].all()
    assert not gradient[0, :-reach].any()


def test_starts_with_the_weights_of_linear_maps():
    mixer = TCN(5, 40, blocks=1, width=3)
    first, second = mixer.convolutions
    for layer, inputs in ((first, 15), (second, 120)):
        length, direction = (layer.get_parameter(name) for name in ("length", "direction"))
        torch.testing.assert_close(length, direction.norm(dim=1))
        assert direction.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.1)


def test_whole_features_are_dropped_while_it_trains():
    mixer = TCN(4, 64, blocks=1, dropout=0.5)
    x = torch.randn(3, 20, 4)
    x[:, 10:] = x[:, :10]
    assert torch.equal(mixer.eval()(x)[0], mixer(x)[0])
    kept = mixer.train()._drop(torch.ones(3, 20, 64))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert (kept == kept[:, :1]).all()
    assert not torch.equal(kept[0], kept[1])
    assert kept.mean().item() == pytest.approx(1, abs=0.25)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="tcn: blocks = 0 and width = 3 should be at least 1"):
        TCN(4, blocks=0)
    with pytest.raises(ValueError, match=r"tcn: dropout = 1\.0 should be from 0 and below 1"):
        TCN(4, dropout=1.0)
