"""LSTMs, GRUs and their kin beside their equations as plain loops, in float64."""

import math

import pytest
import torch
from torch import sigmoid, tanh
from torch.nn.functional import silu

from statewise import backends, mixers
from statewise.mixers.parts.kan import KAN
from statewise.ops import programs

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def made(spec, dim=4):
    """Return a mixer whose parameters are all far from zero, and inputs."""
    mixer = mixers.build(spec, dim).double().eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return mixer, torch.randn(3, 12, dim, dtype=torch.float64)


def loop(x, state, step):
    """Return the first leaf of every state that `step(x_t, state)` answers."""
    ys = []
    for x_t in x.unbind(1):
        state = step(x_t, state)
        ys.append(state[0])
    return torch.stack(ys, 1)


def zeros(x, *widths):
    return tuple(x.new_zeros(len(x), width) for width in widths)


def peephole_lstm(m, x):
    v, n = m.variant, m.hidden
    names = [g for g in "ifzo" if not (v[:2] == "N" + g.upper() and v[2:] == "G") or g == "z"]
    if v == "CIFG":
        names.remove("f")
    W = dict(zip(names, m.input.weight.split(n), strict=True))
    b = dict(zip(names, m.input.bias.split(n), strict=True))
    U = dict(zip(names, m.recurrent.weight.split(n), strict=True))
    p = dict(zip("ifo", [0, 0, 0] if v == "NP" else m.peepholes, strict=True))
    one = torch.ones(len(x), n, dtype=x.dtype)

    def step(x_t, state):
        h, c, i, f, o = state

        def gate(name, c):
            if name not in names:
                return one
            sums = x_t @ W[name].T + b[name] + h @ U[name][:, :n].T + p[name] * c
            if v == "FGR":
                _, R_i, R_f, R_o = U[name].split(n, 1)
                sums = sums + i @ R_i.T + f @ R_f.T + o @ R_o.T
            return sigmoid(sums)

        now_i = gate("i", c)
        now_f = 1 - now_i if v == "CIFG" else gate("f", c)
        z = x_t @ W["z"].T + b["z"] + h @ U["z"][:, :n].T
        c = now_f * c + now_i * (z if v == "NIAF" else tanh(z))
        o = gate("o", c)
        return o * (c if v == "NOAF" else tanh(c)), c, now_i, now_f, o

    return loop(x, zeros(x, n, n, n, n, n), step)


def lstm_step(sums, c):
    i, f, g, o = sums.chunk(4, 1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def projected_lstm(m, x):
    def step(x_t, state):
        r, c = state
        sums = m.weight_ih_l0 @ x_t.T + m.weight_hh_l0 @ r.T
        h, c = lstm_step(sums.T + m.bias_ih_l0 + m.bias_hh_l0, c)
        return h @ m.weight_hr_l0.T, c

    return loop(x, zeros(x, m.out, m.hidden), step)


def norm(layer, v):
    centred = v - v.mean(1, keepdim=True)
    y = layer.weight * centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-5)
    return y if layer.bias is None else y + layer.bias


def layer_norm_lstm(m, x):
    def step(x_t, state):
        h, c = state
        read = norm(m.input_norm, x_t @ m.input.weight.T)
        sums = read + norm(m.recurrent_norm, h @ m.recurrent.weight.T)
        _, c = lstm_step(sums, c)
        return sigmoid(sums[:, 3 * m.hidden :]) * tanh(norm(m.cell_norm, c)), c

    return loop(x, zeros(x, m.hidden, m.hidden), step)


def layer_norm_gru(m, x):
    n = m.hidden

    def step(x_t, state):
        (h,) = state
        W, U = m.input.weight, m.recurrent.weight
        gates = norm(m.input_gates_norm, x_t @ W[: 2 * n].T)
        gates = gates + norm(m.recurrent_gates_norm, h @ U[: 2 * n].T)
        z, r = sigmoid(gates[:, :n]), sigmoid(gates[:, n:])
        candidate = norm(m.input_norm, x_t @ W[2 * n :].T)
        candidate = tanh(candidate + r * norm(m.recurrent_norm, h @ U[2 * n :].T))
        return ((1 - z) * h + z * candidate,)

    return loop(x, zeros(x, n), step)


def weight_dropped_lstm(m, x):
    for layer in range(m.layers):
        W, U, b, b2 = m.weights(layer)[:4]

        def step(x_t, state, W=W, U=U, b=b, b2=b2):
            return lstm_step(x_t @ W.T + b + state[0] @ U.T + b2, state[1])

        x = loop(x, zeros(x, m.hidden, m.hidden), step)
    return x


def cho_gru(m, x):
    W, U, b, b2 = m.weights(0)[:4]
    n = m.hidden

    def step(x_t, state):
        (h,) = state
        r, z = (
            sigmoid(x_t @ W[g].T + b[g] + h @ U[g].T + b2[g]) for g in (slice(n), slice(n, 2 * n))
        )
        g = slice(2 * n, None)
        candidate = tanh(x_t @ W[g].T + b[g] + (r * h) @ U[g].T + b2[g])
        return ((1 - z) * candidate + z * h,)

    return loop(x, zeros(x, n), step)


def indrnn(m, x):
    squash = tanh if m.nonlinearity == "tanh" else torch.relu

    def step(x_t, state):
        return (squash(x_t @ m.input.weight.T + m.recurrent * state[0] + m.input.bias),)

    return loop(x, zeros(x, m.out), step)


def irnn(m, x):
    W, U, b, b2 = m.weights(0)[:4]
    return loop(
        x, zeros(x, m.hidden), lambda x_t, s: (torch.relu(x_t @ W.T + b + s[0] @ U.T + b2),)
    )


def jordan(m, x):
    def step(x_t, state):
        _, s = state
        h = tanh(x_t @ m.input.weight.T + m.input.bias + s @ m.recurrent.weight.T)
        y = h @ m.output.weight.T + m.output.bias
        return y, m.decay * s + y

    return loop(x, zeros(x, m.out, m.out), step)


def multiplicative_lstm(m, x):
    def step(x_t, state):
        mixed = (x_t @ m.multiplier.weight.T) * (state[0] @ m.recurrent.weight.T)
        return lstm_step(x_t @ m.input.weight.T + m.input.bias + mixed @ m.mixed.weight.T, state[1])

    return loop(x, zeros(x, m.hidden, m.hidden), step)


def nas_cell(m, x):
    W, U = m.input.weight.chunk(8), m.recurrent.weight.chunk(8)
    kinds = [sigmoid, torch.relu, sigmoid, None, tanh, sigmoid, tanh, sigmoid]

    def step(x_t, state):
        h, c = state
        a = [
            torch.relu((x_t @ w.T) * (h @ u.T)) if kind is None else kind(x_t @ w.T + h @ u.T)
            for kind, w, u in zip(kinds, W, U, strict=True)
        ]
        c = tanh(tanh(a[0] * a[1]) + c) * tanh(a[2] + a[3])
        return tanh(c * tanh(tanh(a[4] * a[5]) + sigmoid(a[6] + a[7]))), c

    return loop(x, zeros(x, m.hidden, m.hidden), step)


def bases(order, low, intervals, high, z):
    """Return all B-splines at a number, by Cox and de Boor's recursion on the knots themselves."""
    h = (high - low) / intervals
    t = [low + h * k for k in range(-order, intervals + order + 1)]

    def at(m, k):
        if k == 0:
            return float(t[m] <= z < t[m + 1])
        left = (z - t[m]) / (t[m + k] - t[m]) * at(m, k - 1)
        return left + (t[m + k + 1] - z) / (t[m + k + 1] - t[m + 1]) * at(m + 1, k - 1)

    return [at(m, order) for m in range(intervals + order)]


@torch.no_grad()
def kan(layer, x, order, intervals):
    y = silu(x) @ layer.base.weight.T
    coefficients = layer.coefficients.view(len(y[0]), -1, x.shape[1])  # answers, splines, inputs
    for row in range(len(x)):
        for i in range(x.shape[1]):
            values = torch.tensor(bases(order, -1, intervals, 1, x[row, i].item()), dtype=x.dtype)
            y[row] += coefficients[:, :, i] @ values
    return y


def tkan(m, x):
    def step(x_t, state):
        h, c, *subs = state
        e, after = [], []
        for k, s in enumerate(subs):
            part = slice(k * m.width, (k + 1) * m.width)
            a = x_t @ m.read.weight[part].T + s @ m.fed_back[k].weight.T
            e.append(kan(m.kans[k], a, 3, 5))
            after.append(m.taken[part] * e[-1] + m.kept[part] * s)
        sums = x_t @ m.input.weight.T + m.input.bias + h @ m.recurrent.weight.T
        i, f, g = sums.chunk(3, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        o = sigmoid(torch.cat(e, 1) @ m.output.weight.T + m.output.bias)
        return o * tanh(c), c, *after

    return loop(x, zeros(x, m.hidden, m.hidden, *[m.width] * m.layers), step)


def rhn(m, x):
    n = m.hidden

    def step(x_t, state):
        (s,) = state
        for depth, layer in enumerate((m.recurrent, *m.deeper)):
            sums = s @ layer.weight.T
            sums = sums + (layer.bias if depth else x_t @ m.input.weight.T + m.input.bias)
            t = sigmoid(sums[:, n:])
            s = tanh(sums[:, :n]) * t + s * (1 - t)
        return (s,)

    return loop(x, zeros(x, n), step)


def tau_gru(m, x):
    h = [x.new_zeros(len(x), m.hidden)] * (m.delay + 1)
    for x_t in x.unbind(1):
        u, z, g, a = (x_t @ m.input.weight.T + m.input.bias).chunk(4, 1)
        W_u, W_g, W_a = m.recurrent.weight.chunk(3)
        u, g, a = tanh(u + h[-1] @ W_u.T), sigmoid(g + h[-1] @ W_g.T), sigmoid(a + h[-1] @ W_a.T)
        z = tanh(z + h[-1 - m.delay] @ m.delayed.weight.T)
        h.append((1 - g) * h[-1] + g * (u + a * z))
    return torch.stack(h[m.delay + 1 :], 1)


def quasi_lstm(m, x):
    def step(x_t, state):
        f, i, z, o = (x_t @ m.gates.weight.T + m.gates.bias).chunk(4, 1)
        c = sigmoid(f + 1) * state[1] + sigmoid(i) * tanh(z)
        return (sigmoid(o) * tanh(c)) @ m.output.weight.T + m.output.bias, c

    return loop(x, zeros(x, m.dim, m.width), step)


VARIANTS = ("V", "NIG", "NFG", "NOG", "NIAF", "NOAF", "NP", "CIFG", "FGR")
SPECS = [
    *({"name": "peephole_lstm", "hidden": 5, "variant": variant} for variant in VARIANTS),
    {"name": "projected_lstm", "hidden": 6, "projection": 2},
    {"name": "layer_norm_lstm", "hidden": 5},
    {"name": "layer_norm_gru", "hidden": 5},
    {"name": "weight_dropped_lstm", "hidden": 5, "layers": 2},
    {"name": "cho_gru", "hidden": 5},
    {"name": "indrnn", "hidden": 5},
    {"name": "indrnn", "nonlinearity": "tanh"},
    {"name": "irnn", "hidden": 5},
    {"name": "jordan", "hidden": 5, "answers": 3},
    {"name": "jordan", "decay": 0.3},
    {"name": "multiplicative_lstm", "hidden": 5},
    {"name": "nas_cell", "hidden": 5},
    {"name": "tkan", "hidden": 5, "layers": 2, "width": 3},
    {"name": "rhn", "hidden": 5, "depth": 1},
    {"name": "rhn", "hidden": 5, "depth": 4},
    {"name": "tau_gru", "hidden": 5, "delay": 1},
    {"name": "tau_gru", "hidden": 5, "delay": 7},
    {"name": "quasi_lstm", "heads": 3, "head_dim": 2},
]


def name_of(spec):
    return " ".join(str(value) for value in spec.values())


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_forward_is_the_equations(spec):
    mixer, x = made(spec)
    expected = globals()[spec["name"]](mixer, x)
    torch.testing.assert_close(mixer(x)[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_cells_are_read(spec):
    mixer, x = made(spec)
    if isinstance(mixer, mixers.Cell):
        assert isinstance(mixer.reading(x, list(mixer.initial_state(2))), programs.Reading)
    else:
        # What is no `Cell` has an op of its own for its recurrence.
        with backends.noted() as seen:
            mixer(x)
        assert {"cells", "scan"} & set(seen)


def test_a_projected_lstm_loads_the_weights_of_torch():
    witness = torch.nn.LSTM(4, 6, proj_size=3, batch_first=True).double()
    mixer = mixers.ProjectedLSTM(4, 6, projection=3).double()
    mixer.load_state_dict(witness.state_dict())
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    y, (h, c) = witness(x)
    torch.testing.assert_close(mixer(x), (y, (h[0], c[0])), rtol=1e-12, atol=1e-12)


def test_a_weight_dropped_lstm_is_torchs_outside_training():
    witness = torch.nn.LSTM(4, 6, num_layers=2, batch_first=True).double()
    mixer = mixers.WeightDroppedLSTM(4, 6, layers=2).double()
    missing, unknown = mixer.load_state_dict(witness.state_dict(), strict=False)
    assert (missing, unknown) == (["draws.seed"], [])
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(mixer.eval()(x)[0], witness(x)[0], rtol=1e-12, atol=1e-12)


def test_one_mask_serves_a_call_and_the_next_draws_another():
    mixer = mixers.WeightDroppedLSTM(4, 50, drop=0.3).double()
    dropped = [mixer.weights(0).recurrent for _ in range(2)]
    assert not torch.equal(*dropped)
    for found in dropped:
        stays = found != 0
        assert 0.68 < stays.double().mean() < 0.72
        kept = mixer.weight_hh_l0[stays] / 0.7
        torch.testing.assert_close(found[stays], kept, rtol=1e-12, atol=0)
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    saved = {name: value.clone() for name, value in mixer.state_dict().items()}
    y, _ = mixer(x)
    mixer.load_state_dict(saved)
    frozen = mixer.weights(0)
    mixer.load_state_dict(saved)
    again, _ = mixer(x)
    # The same seed draws the same mask, and it is the same at all times and in all rows.
    assert torch.equal(y, again)
    mixer.eval()
    with torch.no_grad():
        mixer.weight_hh_l0.copy_(frozen.recurrent)
    torch.testing.assert_close(mixer(x)[0], y, rtol=1e-12, atol=1e-12)


def test_draws_leave_the_global_generator_alone():
    mixer, x = mixers.WeightDroppedLSTM(4), torch.randn(2, 3, 4)
    before = torch.get_rng_state()
    mixer(x)
    assert torch.equal(before, torch.get_rng_state())


def test_splines_are_one_together_inside_the_grid_and_nothing_far_away():
    layer = KAN(1, 1, grid=4, order=2, low=-2.0, high=1.0).double()
    inside = torch.linspace(-2, 0.99, 40, dtype=torch.float64)[:, None]
    for z, expected in ((inside, 1.0), (torch.tensor([[-5.0], [9.0]]).double(), 0.0)):
        total = layer.values(z).sum(1)
        torch.testing.assert_close(total, torch.full_like(total, expected))


def orthogonal(matrix):
    product = matrix @ matrix.T
    torch.testing.assert_close(product, torch.eye(len(matrix)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "gate", "gates"),
    [
        ({"name": "projected_lstm", "forget_bias": 2.0}, 1, 4),
        ({"name": "layer_norm_lstm", "forget_bias": 2.0}, 1, 4),
        ({"name": "multiplicative_lstm", "forget_bias": 2.0}, 1, 4),
        ({"name": "peephole_lstm", "forget_bias": 2.0}, 1, 4),
        ({"name": "peephole_lstm", "forget_bias": 2.0, "variant": "NIG"}, 0, 3),
        ({"name": "rhn", "transform_bias": 2.0}, 1, 2),
    ],
    ids=lambda value: name_of(value) if isinstance(value, dict) else "",
)
def test_gates_start_where_they_are_told(spec, gate, gates):
    mixer = mixers.build(spec, 4)
    names = {"projected_lstm": "bias_ih_l0", "layer_norm_lstm": "input_norm.bias"}
    bias = mixer.get_parameter(names.get(spec["name"], "input.bias")).chunk(gates)
    for place, block in enumerate(bias):
        if place == gate:
            assert (block == 2).all()
        else:
            assert block.abs().max() <= (0.5 if spec["name"] == "layer_norm_lstm" else 0)


@torch.no_grad()
def test_how_weights_start():
    for block in mixers.ChoGRU(6, 8).weight_hh_l0.chunk(3):
        orthogonal(block)
    assert mixers.ChoGRU(50, 50).weight_ih_l0.std() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(mixers.IRNN(4, scale=0.01).weight_hh_l0, 0.01 * torch.eye(4))
    assert mixers.IRNN(50).weight_ih_l0.std() == pytest.approx(0.001, rel=0.1)
    peephole = mixers.PeepholeLSTM(50)
    for name in ("input.weight", "recurrent.weight", "peepholes"):
        assert peephole.get_parameter(name).std() == pytest.approx(0.1, rel=0.1)
    independent = mixers.IndRNN(4, 200, bound=0.9, least=0.5).recurrent
    assert independent.min() >= 0.5
    assert 0.85 < independent.max() <= 0.9
    for mixer, bound in (
        (mixers.TauGRU(4, 16), 0.25),
        (mixers.WeightDroppedLSTM(4, 16), 0.25),
        (mixers.RHN(4, 16, transform_bias=0.04), 0.04),
    ):
        largest = max(p.abs().max() for p in mixer.parameters())
        assert largest == pytest.approx(bound, rel=0.03)
        assert all(p.abs().max() <= 1.001 * bound for p in mixer.parameters())
    quasi = mixers.QuasiLSTM(64)
    assert quasi.gates.weight.std() == pytest.approx(0.02, rel=0.1)
    for block in mixers.TKAN(4, 6).recurrent.weight.chunk(3):
        orthogonal(block)
    bound = math.sqrt(6 / (64 + 64))
    assert mixers.NASCell(64).recurrent.weight.abs().max() == pytest.approx(bound, rel=0.01)


def test_chrono_biases_of_a_multiplicative_lstm():
    bias = mixers.MultiplicativeLSTM(4, 500, longest=100).input.bias.chunk(4)[1]
    assert bias.min() >= 0
    assert math.log(90) < bias.max() <= math.log(99)


def test_clipping_brings_recurrent_weights_back():
    mixer = mixers.IndRNN(4, bound=0.8)
    with torch.no_grad():
        mixer.recurrent.copy_(torch.tensor([-2.0, -0.5, 0.5, 2.0]))
    mixer.clip()
    assert torch.equal(mixer.recurrent, torch.tensor([-0.8, -0.5, 0.5, 0.8]))


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"name": "peephole_lstm", "variant": "NPG"}, "peephole_lstm: variant = 'NPG'"),
        (
            {"name": "peephole_lstm", "variant": "CIFG", "forget_bias": 1.0},
            "peephole_lstm: CIFG has no forget gate",
        ),
        ({"name": "projected_lstm", "projection": 5}, "projected_lstm: projection = 5"),
        ({"name": "weight_dropped_lstm", "drop": 1.0}, "weight_dropped_lstm: drop = 1.0"),
        ({"name": "indrnn", "nonlinearity": "sin"}, "indrnn: nonlinearity = 'sin'"),
        ({"name": "indrnn", "least": 2.0}, "indrnn: least = 2.0"),
        ({"name": "jordan", "decay": 1.0}, "jordan: decay = 1.0"),
        ({"name": "rhn", "depth": 0}, "rhn: depth = 0"),
        ({"name": "tau_gru", "delay": 0}, "tau_gru: delay = 0"),
        ({"name": "tkan", "layers": 0}, "tkan: layers = 0"),
        ({"name": "tkan", "grid": 0}, "kan: 0 intervals"),
        ({"name": "quasi_lstm", "heads": 0}, "quasi_lstm: 0 heads"),
    ],
    ids=lambda value: name_of(value) if isinstance(value, dict) else "",
)
def test_what_makes_no_sense_is_refused(spec, complaint):
    with pytest.raises(ValueError, match=complaint):
        mixers.build(spec, 4)
