"""Diagonal recurrences whose gates read the input, beside their equations as plain loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, logsigmoid, sigmoid, silu, softplus

from statewise.mixers import HGRN, QRNN, RGLRU, S6, SRU, GateLoop, Hawk, Longhorn, Mamba
from statewise.mixers.parts.lower_bounds import LowerBounds
from statewise.models.stack import Block, Stack

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def s6(m, x):
    h, ys = torch.zeros(len(x), m.dim, m.state, dtype=x.dtype), []
    for x_t in x.unbind(1):
        d, B, C = (x_t @ m.select.weight.T).split([m.rank, m.state, m.state], 1)
        s = softplus(d @ m.step_weight.T + m.step_bias)
        h = torch.exp(-s[..., None] * m.log_rate.exp()) * h
        h = h + (s * x_t)[..., None] * B[:, None]
        ys.append((h * C[:, None]).sum(2) + m.skip * x_t)
    return torch.stack(ys, 1)


def convolved(m, x):
    width, padded = m.width, torch.cat([x.new_zeros(len(x), m.width - 1, m.dim), x], 1)
    taps = [m.weight[:, j] * padded[:, j : j + x.shape[1]] for j in range(width)]
    return sum(taps) + m.bias


def mamba(m, x):
    u, z = m.input(x).chunk(2, -1)
    return m.output(s6(m.selective, silu(convolved(m.convolution, u))) * silu(z))


def longhorn(m, x):
    u, z = m.input(x).chunk(2, -1)
    v = silu(convolved(m.convolution, u))
    S, ys = torch.zeros(len(x), m.inner, m.state, dtype=x.dtype), []
    for v_t in v.unbind(1):
        r, k, q = m.select(v_t).split([m.rank, m.state, m.state], 1)
        b = sigmoid(m.learning(r))
        d = b / (1 + b * (k * k).sum(1, keepdim=True))
        S = S - d[..., None] * k[:, None] ** 2 * S + (d * v_t)[..., None] * k[:, None]
        ys.append((S @ q[..., None])[..., 0] + m.skip * v_t)
    return m.output(torch.stack(ys, 1) * silu(z))


def rg_lru(m, x):
    blocks = [torch.block_diag(*weight) for weight in m.weight]
    h, ys = torch.zeros_like(x[:, 0]), []
    for t, x_t in enumerate(x.unbind(1)):
        r, i = (sigmoid(x_t @ w + b) for w, b in zip(blocks, m.bias, strict=True))
        a = sigmoid(m.Lambda) ** (8 * r)
        h = a * h + (torch.sqrt(1 - a**2) if t else 1) * i * x_t
        ys.append(h)
    return torch.stack(ys, 1)


def hawk(m, x):
    u = rg_lru(m.recurrence, convolved(m.convolution, m.input(x)))
    return m.output(gelu(m.gate(x), approximate="tanh") * u)


def hgrn(m, x):
    bound, theta = m.bound, 0 * x[0, 0]
    if isinstance(bound, LowerBounds):
        bound = bound.shares.softmax(0).cumsum(0)[m.layer] - bound.shares.softmax(0)[m.layer]
    h, ys = torch.zeros(len(x), m.dim, dtype=torch.complex128), []
    for x_t in x.unbind(1):
        c = silu(m.candidate(x_t))
        if m.theta is not None:
            theta, c = m.theta, torch.complex(c[:, : m.dim], c[:, m.dim :])
        f = bound + (1 - bound) * sigmoid(m.forget(x_t))
        h = f * torch.exp(1j * theta) * h + (1 - f) * c
        ys.append(torch.cat([h.real, h.imag], 1)[:, : m.norm.normalized_shape[0]])
    y = layer_norm(torch.stack(ys, 1), m.norm.normalized_shape, m.norm.weight, m.norm.bias)
    return m.output(y * silu(m.gate(x)))


def qrnn(m, x):
    past = torch.cat([x.new_zeros(len(x), m.width - 1, m.dim), x], 1)
    c, ys = torch.zeros(len(x), m.hidden, dtype=x.dtype), []
    for t in range(x.shape[1]):
        read = m.gates(past[:, t : t + m.width].flatten(1)).chunk(1 + len(m.pooling), 1)
        gates = {"f": None, "o": None, "i": None}
        z, gates["f"], gates["o"], gates["i"] = (*read, None, None, None)[:4]
        f = sigmoid(gates["f"])
        c = f * c + (1 - f if m.pooling != "ifo" else sigmoid(gates["i"])) * torch.tanh(z)
        ys.append(c if m.pooling == "f" else sigmoid(gates["o"]) * c)
    return torch.stack(ys, 1)


def sru(m, x):
    v_f, v_r = m.peepholes if m.peepholes is not None else (0, 0)
    W_f, W = m.recurrent.chunk(2)
    c, ys = torch.zeros(len(x), m.hidden, dtype=x.dtype), []
    for x_t in x.unbind(1):
        r = sigmoid(x_t @ m.highway.T + v_r * c + m.highway_bias)
        f = sigmoid(x_t @ W_f.T + v_f * c + m.forget_bias)
        c = f * c + (1 - f) * (x_t @ W.T)
        around = m.scale * x_t if m.around is None else x_t @ m.around.weight.T
        ys.append(r * c + (1 - r) * around)
    return torch.stack(ys, 1)


def gateloop(m, x):
    width = m.dim // m.heads
    S, ys = torch.zeros(len(x), m.heads, width, width, dtype=torch.complex128), []
    for x_t in x.unbind(1):
        q, k, v, g = m.project(x_t).view(len(x), 4, m.heads, width).unbind(1)
        alpha, beta = m.transition(x_t).view(len(x), 2, m.heads, width).unbind(1)
        a = sigmoid(alpha) * torch.exp(1j * beta)
        S = a[..., None] * S + torch.einsum("bhk,bhv->bhkv", k, v)
        ys.append((silu(g) * torch.einsum("bhkv,bhk->bhv", S, q + 0j).real).flatten(1))
    return m.output(torch.stack(ys, 1))


@pytest.mark.parametrize(
    ("mixer", "loop"),
    [
        (S6(5, state=3, rank=2), s6),
        (Mamba(6, expansion=1.5, state=3, width=3), mamba),
        (Longhorn(6, expansion=1.5, state=3, width=3, rank=2), longhorn),
        (RGLRU(6, heads=2), rg_lru),
        (Hawk(4, inner=6, heads=3, width=3), hawk),
        (HGRN(4, bound=0.4), hgrn),
        (HGRN(4, bound=LowerBounds(3, 4), layer=2), hgrn),
        (HGRN(4, complex=False, bound=0.4), hgrn),
        (QRNN(3, hidden=4, width=3, pooling="f"), qrnn),
        (QRNN(3, hidden=4, width=1, pooling="fo"), qrnn),
        (QRNN(3, hidden=4, pooling="ifo"), qrnn),
        (SRU(4, highway_bias=-2.0), sru),
        (SRU(3, hidden=4, peepholes=False), sru),
        (GateLoop(6, heads=2), gateloop),
        (GateLoop(4), gateloop),
    ],
    ids=lambda value: value.__name__ if callable(value) and hasattr(value, "__name__") else "",
)
def test_equals_the_equations(mixer, loop):
    mixer = mixer.double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        x = torch.randn(2, 12, mixer.dim).double()
        torch.testing.assert_close(mixer(x)[0], loop(mixer, x), rtol=1e-9, atol=1e-12)


def between(found: Tensor, least: float, most: float):
    """Require numbers to lie between two bounds, and to fill what lies between."""
    share = (found - least) / (most - least)
    assert -1e-4 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1 + 1e-4


def test_time_constants_start_as_in_the_papers():
    mixer = Mamba(300).selective
    between(softplus(mixer.step_bias), 1e-3, 0.1)
    between(mixer.step_weight, -(19**-0.5), 19**-0.5)
    assert mixer.rank == math.ceil(300 / 16)
    torch.testing.assert_close(mixer.log_rate.exp(), torch.arange(1.0, 17).expand(600, -1))
    between((8 * logsigmoid(RGLRU(400).Lambda)).exp(), 0.9, 0.999)
    torch.testing.assert_close(HGRN(4).theta, torch.tensor([1, 1e-2, 1e-4, 1e-6]))


def test_lower_bounds_rise_with_depth():
    bounds = LowerBounds(4, 3)
    for layer in range(4):
        torch.testing.assert_close(bounds(layer), torch.full((3,), layer / 4))
    torch.nn.init.normal_(bounds.shares)
    rising = torch.stack([bounds(layer) for layer in range(4)])
    assert (rising.diff(dim=0) > 0).all()
    assert (rising < 1).all()
    assert not rising[0].any()
    stack = Stack([Block([HGRN(3, bound=bounds, layer=layer)]) for layer in range(4)])
    assert sum(parameter is bounds.shares for parameter in stack.parameters()) == 1
    stack(torch.randn(1, 5, 3))[0].sum().backward()
    assert bounds.shares.grad is not None
    assert bounds.shares.grad[:3].all()


def test_sru_keeps_the_variance_of_what_it_reads():
    mixer = SRU(400)
    assert mixer.scale == pytest.approx(3**0.5)
    assert SRU(4, highway_bias=-2.0).scale == pytest.approx(1.127, abs=1e-3)
    between(mixer.highway, -((1.5 / 400) ** 0.5), (1.5 / 400) ** 0.5)
    between(mixer.recurrent[400:], -((3 / 400) ** 0.5), (3 / 400) ** 0.5)
    assert mixer(torch.randn(4, 30, 400))[0].var().item() == pytest.approx(1, abs=0.2)


def test_zoneout_keeps_the_state_in_training_only():
    mixer = QRNN(4, pooling="f", zoneout=1.0)
    x = torch.randn(2, 9, 4)
    assert not mixer(x)[0].any()
    assert mixer.eval()(x)[0].all()
    mixer = QRNN(2, hidden=1000, pooling="f", zoneout=0.3)
    before = torch.randn(1, 1000)
    _, state = mixer(x[:1, :1, :2], mixer.initial_state(1)._replace(c=before))
    assert (state.c == before).float().mean().item() == pytest.approx(0.3, abs=0.05)
    other = mixer.eval()(x[:1, :1, :2], mixer.initial_state(1)._replace(c=before))[1].c
    moved = state.c != before
    torch.testing.assert_close(state.c[moved], other[moved])


def test_rg_lru_takes_the_first_input_whole():
    mixer = RGLRU(4, heads=2).double()
    x = torch.randn(1, 6, 4).double()
    reset = torch.tensor([[False, False, False, True, False, False]])
    y, state = mixer(x, reset=reset)
    torch.testing.assert_close(y[:, 3:], rg_lru(mixer, x[:, 3:]))
    assert (state.begun.item(), mixer.initial_state(1).begun.item()) == (1, 0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: S6(4, state=0), "s6: state = 0"),
        (lambda: Mamba(4, expansion=0.0), "mamba: expansion = 0"),
        (lambda: Longhorn(4, state=0), "longhorn: state = 0"),
        (lambda: Longhorn(4, expansion=0.2), "longhorn: expansion = 0.2 leaves nothing of dim = 4"),
        (lambda: RGLRU(6, heads=4), "rg_lru: heads = 4 should divide dim = 6"),
        (lambda: RGLRU(4, least=0.9, most=0.8), "rg_lru: least = 0.9"),
        (lambda: HGRN(4, bound=1.0), "hgrn: bound = 1.0"),
        (lambda: HGRN(4, bound=LowerBounds(1, 4), layer=1), "hgrn: layer = 1"),
        (lambda: QRNN(4, pooling="fi"), "qrnn: pooling = 'fi'"),
        (lambda: QRNN(4, width=0), "qrnn: width = 0"),
        (lambda: QRNN(4, zoneout=2.0), "qrnn: zoneout = 2.0"),
        (lambda: GateLoop(4, heads=3), "gateloop: heads = 3 should divide dim = 4"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
