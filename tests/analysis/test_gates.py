import pytest
import torch
from torch.nn import functional

from statewise import mixers
from statewise.analysis.gates import plot_retention, quantiles, retention
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.state import leaves
from tests.analysis.recurrences import Linear


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def drawn(dim, batch=2, time=7):
    return torch.randn(batch, time, dim, dtype=torch.float64)


def test_min_gru_keeps_what_its_gate_leaves():
    mixer, x = mixers.MinGRU(4).double(), drawn(4)
    expected = (1 - mixer.gate(x).sigmoid()).detach()
    torch.testing.assert_close(retention(mixer, x, leaf="h"), expected)


def test_an_lstm_keeps_what_its_forget_gate_says():
    mixer, x = mixers.LSTM(3, 5).double(), drawn(3)
    y, _ = mixer(x)
    weights = mixer.weights(0)
    before = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
    gates = x @ weights.input.T + weights.input_bias
    gates = gates + before @ weights.recurrent.T + weights.recurrent_bias
    expected = gates[..., 5:10].sigmoid().detach()
    torch.testing.assert_close(retention(mixer, x, leaf="c")[:, :, 0], expected)


def test_gla_keeps_by_the_feature_of_the_key():
    mixer, x = mixers.GLA.example().double(), drawn(12)
    decay = mixer.decay(x).sigmoid().pow(1 / mixer.temperature).detach().unflatten(-1, (2, 3))
    expected = decay[..., None].expand(2, 7, 2, 3, 6)
    torch.testing.assert_close(retention(mixer, x, leaf="S"), expected)


def test_a_complex_number_keeps_its_decay():
    mixer, x = mixers.LRU(4, state=3).double(), drawn(4)
    decay = torch.exp(torch.complex(-mixer.log_rate.exp(), mixer.log_phase.exp())).detach()
    kept = retention(mixer, x, leaf="h")
    torch.testing.assert_close(kept, decay.expand(2, 7, 3))
    torch.testing.assert_close(quantiles(kept, [0.5])[0], decay.abs())


def test_a_dense_recurrence_keeps_its_diagonal():
    A = torch.randn(4, 4, dtype=torch.float64)
    mixer = Linear(A, torch.ones(4, 2, dtype=torch.float64))
    torch.testing.assert_close(retention(mixer, drawn(2), leaf="h"), A.diagonal().expand(2, 7, 4))


def test_quantiles_are_over_rows_and_times():
    kept = torch.arange(12.0).reshape(2, 3, 2, 1)
    found = quantiles(kept, [0, 0.5, 1])
    assert found.tolist() == [[0, 1], [5, 6], [10, 11]]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="leaf = 'h' should be one of S"):
        retention(mixers.GLA.example(), torch.zeros(1, 2, 12), leaf="h")
    with pytest.raises(ValueError, match="the state of Attention grows with what is read"):
        retention(mixers.Attention(4, heads=1), torch.zeros(1, 2, 4), leaf="k")
    with pytest.raises(ValueError, match="x has no inputs"):
        retention(mixers.MinGRU(4), torch.zeros(1, 0, 4), leaf="h")
    with pytest.raises(ValueError, match=r"levels = \[2\] should be in \[0, 1\]"):
        quantiles(torch.zeros(1, 1, 1), [2])


def test_the_plot_is_a_picture():
    named = {"a": torch.rand(2, 5, 3), "b": torch.randn(2, 5, 2, 2) + 0j}
    assert plot_retention(named).startswith(b"\x89PNG")


def test_a_layer_within_a_model_is_named_by_its_place():
    config = LanguageModelConfig(vocab=5, dim=4, depth=2, mixer="min_gru", convolution=0)
    model = LanguageModel(config).double().eval()
    tokens = torch.randint(5, (2, 6))
    below, above = (name for name in leaves(model.initial_state(1)) if name.endswith("h"))
    mixer = model.stack.parts[0].parts[0]
    read = functional.layer_norm(model.embedding(tokens), (4,))
    kept = retention(model, tokens, leaf=below)
    torch.testing.assert_close(kept, (1 - mixer.gate(read).sigmoid()).detach())
    assert not torch.allclose(retention(model, tokens, leaf=above), kept)
