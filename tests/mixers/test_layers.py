"""Elman, LSTM and GRU beside torch's own modules, whose `state_dict`s they load."""

import inspect

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from statewise.mixers import GRU, LSTM, Elman

PAIRS = {
    "tanh": (Elman, torch.nn.RNN, {}),
    "relu": (Elman, torch.nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, torch.nn.LSTM, {}),
    "gru": (GRU, torch.nn.GRU, {}),
}


def pair(name, dtype=torch.float64, layers=2, bias=True):
    ours, theirs, options = PAIRS[name]
    torch.manual_seed(0)
    witness = theirs(3, 5, num_layers=layers, bias=bias, batch_first=True, **options).to(dtype)
    mixer = ours(3, 5, layers=layers, bias=bias, **options).to(dtype)
    mixer.load_state_dict(witness.state_dict())
    return mixer, witness, torch.randn(4, 9, 3, dtype=dtype)


def final(state):
    """Return a witness's final state as a tuple of leaves, batch first."""
    return tuple(leaf.transpose(0, 1) for leaf in (state if isinstance(state, tuple) else (state,)))


def close(found, expected, dtype=torch.float64):
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_forward_and_steps_equal_torch(name, dtype, layers, bias):
    mixer, witness, x = pair(name, dtype, layers, bias)
    expected, state = witness(x)
    y, after = mixer(x)
    close(y, expected, dtype)
    close(tuple(after), final(state), dtype)
    after = mixer.initial_state(4)
    for t in range(9):
        y, after = mixer.step(x[:, t], after)
        close(y, expected[:, t], dtype)
    close(tuple(after), final(state), dtype)


@pytest.mark.parametrize("name", PAIRS)
def test_lengths_equal_a_packed_sequence(name):
    mixer, witness, x = pair(name)
    lengths = torch.tensor([4, 9, 1, 4])
    packed, state = witness(pack_padded_sequence(x, lengths, True, enforce_sorted=False))
    padded = x.where(torch.arange(9)[:, None] < lengths[:, None, None], torch.nan)
    y, after = mixer(padded, lengths=lengths)
    close(y, pad_packed_sequence(packed, batch_first=True)[0])
    close(tuple(after), final(state))


def test_gradients_equal_torch():
    mixer, witness, x = pair("lstm")
    for module in (mixer, witness):
        module(x)[0].square().sum().backward()
    for name, parameter in witness.named_parameters():
        close(mixer.get_parameter(name).grad, parameter.grad)


def test_initialization():
    torch.manual_seed(0)
    mixer = LSTM(6, 8, layers=2)
    for layer in range(2):
        weights = mixer.weights(layer)
        for block in weights.recurrent.split(8):
            torch.testing.assert_close(block @ block.T, torch.eye(8), rtol=0, atol=1e-5)
        read = 6 if layer == 0 else 8
        assert 0.8 < weights.input.abs().max() / (6 / (read + 8)) ** 0.5 <= 1
        total = (weights.input_bias + weights.recurrent_bias).view(4, 8)
        assert torch.equal(total, torch.tensor([0.0, 1, 0, 0])[:, None].expand(4, 8))


def test_weights_of_another_shape_are_refused_in_torchs_words():
    with pytest.raises(RuntimeError, match="weight_hr_l0"):
        LSTM(4).load_state_dict(torch.nn.LSTM(4, 4, proj_size=2).state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for weight_ih_l0"):
        GRU(4).load_state_dict(torch.nn.GRU(5, 4).state_dict())


def test_an_unknown_nonlinearity_is_refused_in_words():
    with pytest.raises(ValueError, match="nonlinearity 'selu'"):
        inspect.unwrap(Elman)(4, nonlinearity="selu")


@pytest.mark.parametrize("mixer", [Elman, LSTM, GRU])
def test_half_precision_keeps_a_wide_state(mixer):
    module, x = mixer(4), torch.randn(2, 3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = module(x)
        assert {leaf.dtype for leaf in module.step(x[:, 0], state)[1]} == {torch.float32}
    close(tuple(state), tuple(module(x)[1]), torch.float32)
    y, state = module.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert {leaf.dtype for leaf in state} == {torch.float32}
