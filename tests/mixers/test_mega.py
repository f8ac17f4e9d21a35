"""Mega and TCNCA beside loops over times and positions, chunk by chunk."""

import pytest
import torch
from torch.nn.functional import silu

from statewise.mixers import TCNCA, DampedEMA, Mega

DIM, TIME = 4, 17


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def attended(mixer, x, m):
    """Return the outputs of one sequence, (time, dim), given what its memory answers."""
    W, b = mixer.gates.weight, mixer.gates.bias
    u, h, z, r = (m @ W.T + b).split((DIM, DIM, mixer.key, mixer.hidden), -1)
    z = silu(z)
    query, key = (mixer.scale[i] * z + mixer.offset[i] for i in (0, 1))
    value = silu(mixer.value(x))
    ys = []
    for t in range(len(x)):
        seen = range(t - t % mixer.chunk, t + 1)
        scores = torch.stack(
            [query[t] @ key[s] / mixer.key**0.5 + mixer.nearness[t - s] for s in seen]
        )
        a = sum(weight * value[s] for weight, s in zip(scores.softmax(0), seen, strict=True))
        inner = silu(h[t] + mixer.read.weight @ (silu(r[t]) * a))
        ys.append(u[t].sigmoid() * (inner - x[t]))
    return torch.stack(ys)


def averages(mixer, x):
    return mixer.average(x[None])[0][0]


def convolutions(mixer, x):
    m = x
    for layer in range(len(mixer.weight)):
        reach = mixer.dilation**layer
        c = mixer.bias[layer].expand_as(m).clone()
        for t in range(len(x)):
            for back in range(mixer.weight.shape[2]):
                if t - back * reach >= 0:
                    c[t] = c[t] + mixer.weight[layer, :, -1 - back] * m[t - back * reach]
        m = m + silu(c)
    return m


CASES = {
    "mega": (Mega, averages, {"state": 3}),
    "tcnca": (TCNCA, convolutions, {"layers": 3, "width": 4, "dilation": 2}),
    "tcnca, no dilation": (TCNCA, convolutions, {"layers": 2, "dilation": 1}),
}


@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_loop_of_every_piece_between_resets(case, chunk):
    make, memory, options = CASES[case]
    mixer = make(DIM, chunk=chunk, hidden=6, key=3, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    x = torch.randn(1, 150 if case == "mega" and chunk == 5 else TIME, DIM).double()
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset[0, [7, 9]] = True
    y, state = mixer(x, reset=reset)
    expected = [attended(mixer, part, memory(mixer, part)) for part in x[0].tensor_split([7, 9])]
    torch.testing.assert_close(y[0], torch.cat(expected), rtol=1e-9, atol=1e-9)
    assert state.position.tolist() == [x.shape[1] - 9]


def test_the_chunk_in_progress_is_all_that_is_kept():
    mixer = Mega(DIM, chunk=5)
    x = torch.randn(2, 12, DIM)
    _, state = mixer(x, lengths=torch.tensor([12, 10]))
    values = silu(mixer.value(x))
    torch.testing.assert_close(state.values[0, :2], values[0, 10:])
    assert not state.values[0, 2:].any()
    assert not state.values[1].any()
    assert state.position.tolist() == [12, 10]


def test_starts():
    mixer = Mega(40, chunk=64)
    assert mixer.hidden == 80
    assert mixer.key == 10
    assert isinstance(mixer.average, DampedEMA)
    for small in (mixer.gates.weight, mixer.value.weight, mixer.read.weight, mixer.scale):
        assert small.std().item() == pytest.approx(0.02, rel=0.2)


def test_tcnca_keeps_what_its_convolutions_see():
    mixer = TCNCA(DIM, layers=3, width=4, dilation=3, chunk=2)
    assert mixer.initial_state(1).past.shape == (1, 3 * (27 - 1) // 2, DIM)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="mega: chunk = 0 should be at least 1"):
        Mega(DIM, chunk=0)
    with pytest.raises(ValueError, match="tcnca: layers = 4, width = 0"):
        TCNCA(DIM, width=0)
