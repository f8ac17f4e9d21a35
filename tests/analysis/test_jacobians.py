import pytest
import torch

from statewise import mixers, state
from statewise.analysis.jacobians import diagonal, jacobian, plot_spectra, spectra, spectral_radius
from statewise.analysis.trajectories import named, parts, states_before
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def by_autograd(mixer, x, before, leaf):
    """The Jacobian of the first row by torch's own function, of real leaves."""
    at = list(state.leaves(before)).index(leaf)

    def step(value):
        leaves = list(state.leaves(before).values())
        leaves[at] = value
        return named(mixer.step(x, type(before)(*leaves))[1], leaf)

    found = torch.autograd.functional.jacobian(step, named(before, leaf))
    numbers = named(before, leaf).numel()
    return found.reshape(numbers, numbers)


def ordered(values):
    return sorted(values.tolist(), key=lambda z: (round(z.real, 6), round(z.imag, 6)))


def test_a_linear_recurrence_has_its_matrix_everywhere():
    A, B = torch.randn(5, 5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    mixer, x = Linear(A, B), torch.randn(2, 7, 3, dtype=torch.float64)
    _, last = mixer(x)
    torch.testing.assert_close(jacobian(mixer, x[:, 0], last), A.expand(2, 5, 5))
    found = spectra(mixer, x, at=[6, 0])
    assert found.shape == (2, 2, 5)
    expected = torch.linalg.eigvals(A)
    for values in found.flatten(0, 1):
        assert ordered(values) == pytest.approx(ordered(expected))
    torch.testing.assert_close(spectral_radius(found)[0, 0], expected.abs().max())


@pytest.mark.parametrize(
    ("name", "leaf"), [("elman", "h"), ("lstm", "c"), ("lstm", "h"), ("gla", "S"), ("mamba", "h")]
)
def test_it_is_what_torch_says_of_one_row(name, leaf):
    mixer = mixers.catalogue()[name].example().double().eval()
    x = torch.randn(1, 4, mixer.dim, dtype=torch.float64)
    _, before = mixer(x)
    found = jacobian(mixer, x[:, 0], before, leaf=leaf)[0]
    torch.testing.assert_close(found, by_autograd(mixer, x[:, 0], before, leaf))


def test_elman_by_its_formula_at_each_point():
    mixer = mixers.Elman(3, 4).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    y, _ = mixer(x)
    U = mixer.weights(0).recurrent
    for t, before in zip([0, 4], [*states_before(mixer, x)][0:5:4], strict=True):
        expected = (1 - y[:, t] ** 2)[:, :, None] * U
        torch.testing.assert_close(jacobian(mixer, x[:, t], before, leaf="h"), expected.detach())


def test_a_complex_state_has_its_decays_and_their_conjugates():
    mixer = mixers.LRU(4, state=3).double()
    x = torch.randn(1, 2, 4, dtype=torch.float64)
    decay = torch.exp(torch.complex(-mixer.log_rate.exp(), mixer.log_phase.exp())).detach()
    expected = torch.cat([decay, decay.conj()])
    assert ordered(spectra(mixer, x, at=[1])[0, 0]) == pytest.approx(ordered(expected))


def test_all_leaves_together_hold_those_of_each():
    mixer = mixers.LSTM(3, 4).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64)
    _, before = mixer(x)
    whole = jacobian(mixer, x[:, 0], before)
    assert whole.shape == (2, 8, 8)
    torch.testing.assert_close(whole[:, :4, :4], jacobian(mixer, x[:, 0], before, leaf="h"))
    torch.testing.assert_close(whole[:, 4:, 4:], jacobian(mixer, x[:, 0], before, leaf="c"))
    assert whole[:, :4, 4:].diagonal(dim1=1, dim2=2).abs().min() > 0  # h shows c


def test_a_model_has_one_too():
    config = LanguageModelConfig(vocab=5, dim=4, depth=2, mixer="min_gru", convolution=0)
    model = LanguageModel(config).double().eval()
    tokens = torch.randint(5, (2, 3))
    found = spectra(model, tokens, at=[2])
    assert found.shape == (1, 2, 8)
    # Each gate reads the layer below, never its own state: triangular, with the gates on it.
    assert (found.imag == 0).all()
    assert ((found.real > 0) & (found.real < 1)).all()


def test_what_a_step_forgets_altogether_has_no_derivative():
    part = mixers.ShortConvolution(3, width=2).double()
    x = torch.randn(1, 1, 3, dtype=torch.float64)
    assert torch.equal(jacobian(part, x[:, 0], part.initial_state(1)), torch.zeros(1, 3, 3))


@pytest.mark.parametrize(
    ("name", "leaf"),
    [
        ("min_gru", "h"),
        ("gru", "h"),
        ("delta_net", "S"),
        ("lstm", "c"),
        ("short_convolution", "past"),
    ],
)
def test_the_diagonal_is_that_of_the_whole(name, leaf):
    mixer = mixers.catalogue()[name].example().double().eval()
    x = torch.randn(3, 4, mixer.dim, dtype=torch.float64)
    _, before = mixer(x)
    expected = jacobian(mixer, x[:, 1], before, leaf=leaf).diagonal(dim1=1, dim2=2)
    found = diagonal(mixer, x[:, 1], before, leaf=leaf)
    assert found.shape == named(before, leaf).shape
    torch.testing.assert_close(found.flatten(1), expected)


def test_two_units_that_change_places_keep_nothing():
    """Not diagonal, although a probe of equal signs would say that all is kept."""
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    mixer = Linear(swap, torch.ones(2, 1))
    kept = diagonal(mixer, torch.ones(1, 1), mixer.initial_state(1), leaf="h")
    assert torch.equal(kept, torch.zeros(1, 2))


class Turned(Linear):
    """A complex state  z_t = A z_{t-1} + b conj(z_{t-1}) + x_t,  with dense A or not."""

    complex_leaves = ("h",)

    def __init__(self, A, b):
        super().__init__(A, torch.ones(len(A), 1))
        self.b = b

    def cell(self, x, before):
        h = before.h @ self.A.T + self.b * before.h.conj() + x
        return h.real, type(before)(h)


@pytest.mark.parametrize("b", [0.0, 0.5])
@pytest.mark.parametrize("off", [0.0, 0.3])
def test_complex_numbers_by_themselves(b, off):
    A = torch.diag(torch.tensor([0.5 + 0.2j, -0.1 + 0.9j])) + off * torch.tensor([[0, 1], [1j, 0]])
    mixer = Turned(A, b)
    before = mixer.initial_state(3)
    assert before.h.is_complex()
    kept = diagonal(mixer, torch.ones(3, 1), before, leaf="h")
    torch.testing.assert_close(kept, A.diagonal().expand(3, 2))
    assert parts(before.h).shape == (3, 4)


def test_what_has_no_square_jacobian_is_refused():
    x = torch.randn(1, 3, 4)
    with pytest.raises(ValueError, match="leaf = 'S' should be one of h, c"):
        spectra(mixers.LSTM(4), x, at=[0], leaf="S")
    with pytest.raises(ValueError, match=r"at = \[3\] should be times in \[0, 3\)"):
        spectra(mixers.LSTM(4), x, at=[3])
    with pytest.raises(ValueError, match="should be one of none: no state"):
        spectra(mixers.FeedForward(4), x, at=[0])
    with pytest.raises(ValueError, match="a state that grows has no square Jacobian"):
        spectra(mixers.Attention(4, heads=1), x, at=[1])


def test_the_plot_is_a_picture():
    values = {"a": torch.randn(2, 3, dtype=torch.complex64), "b_$1$": torch.ones(1) + 0j}
    assert plot_spectra(values).startswith(b"\x89PNG")
