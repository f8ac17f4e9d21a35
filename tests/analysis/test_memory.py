import pytest
import torch

from statewise import mixers
from statewise.analysis.memory import memory_curve, plot_memory
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def noise(batch, time, dim=1):
    return 2 * torch.rand(batch, time, dim, dtype=torch.float64) - 1


@pytest.mark.parametrize("dim", [1, 2])
def test_a_delay_line_remembers_all_up_to_its_length(dim):
    """After x_t the window of a convolution of 6 taps holds x_t and the four before it."""
    line = mixers.ShortConvolution(dim, width=6).double()
    curve = memory_curve(line, noise(2, 900, dim), lags=9, leaf="past")
    assert curve.shape == (9, dim)
    torch.testing.assert_close(curve[:5], torch.ones(5, dim, dtype=torch.float64))
    assert curve[5:].max() < 0.02  # by chance 1 / 530


def test_one_leaking_number_remembers_as_its_decay_says():
    """Of h_t = a h_{t-1} + x_t the squared correlation at lag k is a^{2k} (1 - a^2)."""
    a = 0.8
    leaky = Linear(torch.tensor([[a]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    curve = memory_curve(leaky, noise(16, 2000), lags=20)[:, 0]
    expected = (1 - a**2) * a ** (2.0 * torch.arange(20))
    torch.testing.assert_close(curve, expected.double(), rtol=0, atol=0.02)


def test_a_linear_network_has_a_capacity_of_its_size():
    """Jaeger 2001, proposition 3: N, if no unit is a combination of others."""
    A = 0.97 * torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    network = Linear(A, torch.randn(6, 1, dtype=torch.float64))
    curve = memory_curve(network, noise(4, 3000), lags=150, washout=200)
    assert curve.sum().item() == pytest.approx(6, abs=0.3)


def test_what_reads_nothing_remembers_nothing():
    deaf = Linear(torch.eye(3), torch.zeros(3, 1))
    assert memory_curve(deaf, noise(1, 600).float(), lags=4).max() < 1e-20


def test_complex_leaves_are_read_as_two_numbers():
    lru = mixers.LRU(1, state=4, ring=(0.5, 0.9)).double()
    curve = memory_curve(lru, noise(4, 2000), lags=100, leaf="h")
    assert curve.sum().item() == pytest.approx(8, abs=0.4)


def test_what_cannot_be_measured_is_refused():
    line = mixers.ShortConvolution(1, width=6)
    with pytest.raises(ValueError, match="the time of x, 100, well above both"):
        memory_curve(line, torch.zeros(1, 100, 1), lags=99)
    with pytest.raises(ValueError, match="leaf = 'h' should be one of past"):
        memory_curve(line, torch.zeros(1, 400, 1), lags=3, leaf="h")


def test_the_plot_is_a_picture():
    curves = {"a": torch.rand(9, 2), "b": torch.rand(9, 1)}
    assert plot_memory(curves).startswith(b"\x89PNG")
