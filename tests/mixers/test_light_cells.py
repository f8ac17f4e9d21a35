"""Light gated cells and oscillators beside loops written from their papers, a row at a time."""

import inspect
import math

import pytest
import torch
from torch import exp, nn, relu, sigmoid, tanh
from torch.nn.functional import layer_norm

from statewise import mixers
from statewise.ops import programs

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


def blocks(weight, gates):
    """Return every gate's rows."""
    return weight.unflatten(0, (gates, -1)).unbind(0)


def ugrnn(m, x, h):
    (Wc, Wg), (Uc, Ug), (bc, bg) = (
        blocks(p, 2) for p in (m.input.weight, m.recurrent.weight, m.input.bias)
    )
    c = tanh(Wc @ x + Uc @ h + bc)
    g = sigmoid(Wg @ x + Ug @ h + bg)
    h = g * h + (1 - g) * c
    return h, h


def ran(m, x, c, squash=True):
    show = tanh if squash else lambda c: c
    (Wv, Wi, Wf), (Ui, Uf) = blocks(m.input.weight, 3), blocks(m.recurrent.weight, 2)
    bi, bf = blocks(m.bias, 2)
    h = show(c)
    c = sigmoid(Wi @ x + Ui @ h + bi) * (Wv @ x) + sigmoid(Wf @ x + Uf @ h + bf) * c
    return show(c), c


def atr(m, x, h, bias=True):
    p = m.input.weight @ x + (m.input.bias if bias else 0)
    q = m.recurrent.weight @ h
    h = sigmoid(p + q) * p + sigmoid(p - q) * h
    return h, h


def cfn(m, x, h):
    (Vt, Ve, W), (Ut, Ue) = blocks(m.input.weight, 3), blocks(m.recurrent.weight, 2)
    bt, be = blocks(m.bias, 2)
    theta, eta = sigmoid(Ut @ h + Vt @ x + bt), sigmoid(Ue @ h + Ve @ x + be)
    h = theta * tanh(h) + eta * tanh(W @ x)
    return h, h


def matrix(module):
    """Return a layer's matrix, or the product of two."""
    if isinstance(module, nn.Sequential):
        return module[1].weight @ module[0].weight
    return module.weight


def fast_rnn(m, x, h, **ranks):
    c = tanh(matrix(m.input) @ x + matrix(m.recurrent) @ h + m.bias)
    h = sigmoid(m.alpha) * c + sigmoid(m.beta) * h
    return h, h


def fast_grnn(m, x, h, **ranks):
    a = matrix(m.input) @ x + matrix(m.recurrent) @ h
    z, c = sigmoid(a + m.gate_bias), tanh(a + m.candidate_bias)
    h = (sigmoid(m.zeta) * (1 - z) + sigmoid(m.nu)) * c + z * h
    return h, h


def antisymmetric_rnn(m, x, h, epsilon=0.01, gamma=0.01):
    U = m.recurrent.weight
    M = U - U.T - gamma * torch.eye(len(U))
    h = h + epsilon * tanh(M @ h + m.input.weight @ x + m.input.bias)
    return h, h


def gated_antisymmetric_rnn(m, x, h, epsilon=0.01, gamma=0.01):
    U = m.recurrent.weight
    M = U - U.T - gamma * torch.eye(len(U))
    (Vz, Vh), (bz, bh) = blocks(m.input.weight, 2), blocks(m.input.bias, 2)
    z = sigmoid(M @ h + Vz @ x + bz)
    h = h + epsilon * z * tanh(M @ h + Vh @ x + bh)
    return h, h


def minimal_rnn(m, x, h):
    v = tanh(m.input.weight @ x + m.input.bias)
    u = sigmoid(m.recurrent.weight @ h + m.gate.weight @ v + m.gate_bias)
    h = u * h + (1 - u) * v
    return h, h


def janet(m, x, h, beta=1.0):
    (Wf, Wc), (Uf, Uc), (bf, bc) = (
        blocks(p, 2) for p in (m.input.weight, m.recurrent.weight, m.input.bias)
    )
    a = Wf @ x + Uf @ h + bf
    g = tanh(Wc @ x + Uc @ h + bc)
    h = sigmoid(a) * h + (1 - sigmoid(a - beta)) * g
    return h, h


def ligru(m, x, h, norm=True):
    (Wz, Wc), (Uz, Uc) = blocks(m.input.weight, 2), blocks(m.recurrent.weight, 2)
    z, c = Wz @ x, Wc @ x
    if norm:
        z, c = (
            layer_norm(a, a.shape) * n.weight + n.bias for a, n in zip((z, c), m.norms, strict=True)
        )
    else:
        bz, bc = blocks(m.input.bias, 2)
        z, c = z + bz, c + bc
    z, c = sigmoid(z + Uz @ h), relu(c + Uc @ h)
    h = z * h + (1 - z) * c
    return h, h


def mgu(m, x, h, variant=0):
    f = sigmoid(
        {
            0: lambda: m.gate_input.weight @ x + m.gate_recurrent.weight @ h + m.gate_bias,
            1: lambda: m.gate_recurrent.weight @ h + m.gate_bias,
            2: lambda: m.gate_recurrent.weight @ h,
            3: lambda: m.gate_bias,
        }[variant]()
    )
    n = tanh(m.input.weight @ x + m.recurrent.weight @ (f * h) + m.input.bias)
    h = (1 - f) * h + f * n
    return h, h


def star(m, x, h):
    (Wz, Wk), (bz, bk) = blocks(m.input.weight, 2), blocks(m.input.bias, 2)
    z = tanh(Wz @ x + bz)
    k = sigmoid(Wk @ x + m.recurrent.weight @ h + bk)
    h = tanh((1 - k) * h + k * z)
    return h, h


def brc(m, x, h):
    Ua, Uc, U = blocks(m.input.weight, 3)
    ba, bc = blocks(m.bias, 2)
    a = 1 + tanh(Ua @ x + m.feedback * h + ba)
    c = sigmoid(Uc @ x + m.gate * h + bc)
    h = c * h + (1 - c) * tanh(U @ x + a * h)
    return h, h


def nbrc(m, x, h):
    (Ua, Uc, U), (Wa, Wc) = blocks(m.input.weight, 3), blocks(m.recurrent.weight, 2)
    ba, bc = blocks(m.bias, 2)
    a = 1 + tanh(Ua @ x + Wa @ h + ba)
    c = sigmoid(Uc @ x + Wc @ h + bc)
    h = c * h + (1 - c) * tanh(U @ x + a * h)
    return h, h


def lem(m, x, y, z, dt=1.0):
    (W1, W2, Wz, Wy), (b1, b2, bz, by) = blocks(m.input.weight, 4), blocks(m.input.bias, 4)
    V1, V2, Vz = blocks(m.recurrent.weight, 3)
    d = dt * sigmoid(W1 @ x + V1 @ y + b1)
    e = dt * sigmoid(W2 @ x + V2 @ y + b2)
    z = (1 - e) * z + e * tanh(Wz @ x + Vz @ y + bz)
    y = (1 - d) * y + d * tanh(Wy @ x + m.memory.weight @ z + by)
    return y, y, z


def cornn(m, x, y, z, dt=0.042, gamma=2.7, epsilon=4.7):
    W, Wz = m.recurrent.weight.chunk(2, 1)
    drive = tanh(W @ y + Wz @ z + m.input.weight @ x + m.input.bias)
    z = z + dt * (drive - gamma * y - epsilon * z)
    y = y + dt * z
    return y, y, z


def unicornn(m, x, y, z, dt=0.19, alpha=30.65):
    s = sigmoid(m.control)
    v = m.input.weight @ x + m.input.bias
    z = z - dt * s * (tanh(m.feedback * y + v) + alpha * y)
    y = y + dt * s * z
    return y, y, z


def scrn(m, x, h, s, slow=None, alpha=0.95):
    s = (1 - alpha) * (m.context.weight @ x) + alpha * s
    h = sigmoid(m.from_context.weight @ s + m.input.weight @ x + m.recurrent.weight @ h)
    return torch.cat([h, s]), h, s


def mut(m, x, h, variant=1):
    bz, br, bh = blocks(m.bias, 3)
    if variant == 1:
        Wz, Wr = blocks(m.input.weight, 2)
        z = sigmoid(Wz @ x + bz)
        r = sigmoid(Wr @ x + m.reset.weight @ h + br)
        n = tanh(m.recurrent.weight @ (r * h) + tanh(x) + bh)
    elif variant == 2:
        Wz, Wh = blocks(m.input.weight, 2)
        z = sigmoid(Wz @ x + m.update.weight @ h + bz)
        r = sigmoid(x + m.reset.weight @ h + br)
        n = tanh(m.recurrent.weight @ (r * h) + Wh @ x + bh)
    else:
        Wz, Wr, Wh = blocks(m.input.weight, 3)
        z = sigmoid(Wz @ x + m.update.weight @ tanh(h) + bz)
        r = sigmoid(Wr @ x + m.reset.weight @ h + br)
        n = tanh(m.recurrent.weight @ (r * h) + Wh @ x + bh)
    h = n * z + h * (1 - z)
    return h, h


def leaky_rnn(m, x, h, leaks="rate", nonlinearity="tanh"):
    f = {"tanh": tanh, "relu": relu}[nonlinearity]
    alpha = 1 - exp(-1 / exp(m.log_tau))
    W, U, b = m.input.weight, m.recurrent.weight, m.input.bias
    if leaks == "rate":
        h = (1 - alpha) * h + alpha * f(W @ x + U @ h + b)
        return h, h
    h = (1 - alpha) * h + alpha * (W @ x + U @ f(h) + b)
    return f(h), h


CELLS = [
    (mixers.UGRNN, ugrnn, {}),
    (mixers.RAN, ran, {}),
    (mixers.RAN, ran, {"squash": False}),
    (mixers.ATR, atr, {}),
    (mixers.ATR, atr, {"bias": False}),
    (mixers.CFN, cfn, {}),
    (mixers.FastRNN, fast_rnn, {}),
    (mixers.FastRNN, fast_rnn, {"input_rank": 2, "recurrent_rank": 3}),
    (mixers.FastGRNN, fast_grnn, {}),
    (mixers.FastGRNN, fast_grnn, {"input_rank": 2, "recurrent_rank": 3}),
    (mixers.AntisymmetricRNN, antisymmetric_rnn, {}),
    (mixers.AntisymmetricRNN, antisymmetric_rnn, {"epsilon": 0.5, "gamma": 0.3}),
    (mixers.GatedAntisymmetricRNN, gated_antisymmetric_rnn, {}),
    (mixers.GatedAntisymmetricRNN, gated_antisymmetric_rnn, {"epsilon": 0.5, "gamma": 0.3}),
    (mixers.MinimalRNN, minimal_rnn, {}),
    (mixers.JANET, janet, {}),
    (mixers.JANET, janet, {"beta": 0.3}),
    (mixers.LiGRU, ligru, {}),
    (mixers.LiGRU, ligru, {"norm": False}),
    *((mixers.MGU, mgu, {"variant": variant}) for variant in range(4)),
    (mixers.STAR, star, {}),
    (mixers.BRC, brc, {}),
    (mixers.NBRC, nbrc, {}),
    (mixers.LEM, lem, {}),
    (mixers.LEM, lem, {"dt": 0.2}),
    (mixers.CoRNN, cornn, {}),
    (mixers.CoRNN, cornn, {"dt": 0.2, "gamma": 1.5, "epsilon": 0.5}),
    (mixers.UnICORNN, unicornn, {}),
    (mixers.UnICORNN, unicornn, {"dt": 0.3, "alpha": 2.0}),
    (mixers.SCRN, scrn, {}),
    (mixers.SCRN, scrn, {"slow": 2, "alpha": 0.8}),
    *((mixers.MUT, mut, {"variant": variant}) for variant in (1, 2, 3)),
    (mixers.LeakyRNN, leaky_rnn, {}),
    (mixers.LeakyRNN, leaky_rnn, {"nonlinearity": "relu"}),
    (mixers.LeakyRNN, leaky_rnn, {"leaks": "potential"}),
    (mixers.LeakyRNN, leaky_rnn, {"leaks": "potential", "nonlinearity": "relu"}),
]


@pytest.mark.parametrize(
    ("mixer", "step", "options"), CELLS, ids=[f"{c.__name__} {o or ''}" for c, _, o in CELLS]
)
def test_equals_the_loop_of_its_paper_and_is_a_program(mixer, step, options, float64):
    draw = torch.Generator().manual_seed(0)
    hidden = 4 if mixer is mixers.MUT and options["variant"] < 3 else 5
    m = mixer(4, hidden, **options)
    for p in m.parameters():
        p.data.normal_(0, 0.7, generator=draw)
    x = torch.randn(2, 9, 4, generator=draw)
    start = m.initial_state(2)
    start = type(start)(*(torch.randn(leaf.shape, generator=draw) for leaf in start))
    assert isinstance(m.reading(x, list(start)), programs.Reading)
    y, state = m(x, start)
    for row in range(2):
        leaves = tuple(leaf[row] for leaf in start)
        for t in range(9):
            expected, *leaves = step(m, x[row, t], *leaves, **options)
            torch.testing.assert_close(y[row, t], expected, rtol=0, atol=1e-9)
        for leaf, expected in zip(state, leaves, strict=True):
            torch.testing.assert_close(leaf[row], expected, rtol=0, atol=1e-9)


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def is_orthogonal(weight, gates=1):
    for U in blocks(weight.detach(), gates):
        torch.testing.assert_close(U @ U.T, torch.eye(len(U)), rtol=0, atol=1e-5)


def is_xavier(weight, gates=1):
    for W in blocks(weight.detach(), gates):
        reaches(W, math.sqrt(6 / sum(W.shape)))


def reaches(p, high, low=None):
    """Assert that numbers are uniform over a range, as far as their ends and their mean tell."""
    low = -high if low is None else low
    assert low <= p.min() < low + (high - low) / 10
    assert high - (high - low) / 10 < p.max() <= high
    assert abs(p.mean() - (low + high) / 2) < (high - low) / 8


@pytest.mark.parametrize(
    ("mixer", "gates", "recurrent_gates"),
    [
        (mixers.UGRNN, 2, 2),
        (mixers.RAN, 3, 2),
        (mixers.ATR, 1, 1),
        (mixers.CFN, 3, 2),
        (mixers.JANET, 2, 2),
        (mixers.LiGRU, 2, 2),
        (mixers.MGU, 1, 1),
        (mixers.MUT, 2, 1),
        (mixers.MinimalRNN, 1, 1),
        (mixers.SCRN, 1, 1),
        (mixers.LeakyRNN, 1, 1),
    ],
)
def test_weights_start_xavier_and_recurrent_ones_orthogonal_by_gate(mixer, gates, recurrent_gates):
    m = mixer(32)
    is_xavier(m.input.weight, gates)
    is_orthogonal(m.recurrent.weight, recurrent_gates)


def test_what_else_is_a_matrix_starts_as_its_head_says():
    is_xavier(mixers.MinimalRNN(32).gate.weight)
    is_xavier(mixers.SCRN(32).context.weight)
    is_xavier(mixers.SCRN(32).from_context.weight)
    is_xavier(mixers.MGU(32).gate_input.weight)
    is_orthogonal(mixers.MGU(32).gate_recurrent.weight)
    is_orthogonal(mixers.MUT(32, variant=3).update.weight)
    is_orthogonal(mixers.MUT(32, variant=3).reset.weight)
    is_orthogonal(mixers.STAR(32).input.weight, 2)
    is_orthogonal(mixers.STAR(32).recurrent.weight)
    is_xavier(mixers.NBRC(32).recurrent.weight, 2)
    is_xavier(mixers.BRC(32).input.weight, 3)
    is_orthogonal(mixers.LeakyRNN(32, gain=1.5).recurrent.weight / 1.5)


def test_gates_start_where_their_biases_say():
    def biases(m):
        return m.input.bias.detach().unflatten(0, (2, -1)).unbind()

    zero = torch.zeros(64)
    torch.testing.assert_close(biases(mixers.UGRNN(64)), (zero, zero + 1))
    torch.testing.assert_close(biases(mixers.UGRNN(64, forget_bias=3.0)), (zero, zero + 3))
    torch.testing.assert_close(biases(mixers.JANET(64)), (zero + 1, zero))
    torch.testing.assert_close(biases(mixers.JANET(64, forget_bias=2.0)), (zero + 2, zero))
    forget, rest = biases(mixers.JANET(64, longest=50))
    reaches(forget.exp(), 49.0, 1.0)
    assert not rest.any()
    torch.testing.assert_close(biases(mixers.STAR(64)), (zero, zero))
    rest, gate = biases(mixers.STAR(64, longest=50))
    reaches((-gate).exp(), 49.0, 1.0)
    assert not rest.any()
    torch.testing.assert_close(mixers.CFN(64).bias.detach(), torch.cat([zero + 1, zero - 1]))
    of_two = mixers.CFN(64, forget_bias=2.0).bias.detach()
    torch.testing.assert_close(of_two, torch.cat([zero + 2, zero - 2]))
    for m in (mixers.RAN(64), mixers.BRC(64), mixers.NBRC(64), mixers.MUT(64)):
        assert not m.bias.any()


def test_scalars_and_vectors_start_as_published():
    m = mixers.FastRNN(48)
    assert (m.alpha, m.beta) == (-3, 3)
    assert (m.bias == 1).all()
    g = mixers.FastGRNN(48, input_rank=40)
    assert (g.zeta, g.nu) == (1, -4)
    assert (g.gate_bias == 1).all()
    assert (g.candidate_bias == 1).all()
    for weight in (m.input.weight, m.recurrent.weight, g.input[0].weight, g.input[1].weight):
        assert abs(weight.std() - 0.1) < 0.01
        assert weight.abs().max() > 0.25  # normal, not uniform
    b = mixers.BRC(4)
    assert (b.feedback == 1).all()
    assert (b.gate == 1).all()


@pytest.mark.parametrize("mixer", [mixers.AntisymmetricRNN, mixers.GatedAntisymmetricRNN])
def test_antisymmetric_networks_start_normal_by_what_is_read(mixer):
    m = mixer(16, 64)
    assert abs(m.recurrent.weight.std() * 8 - 1) < 0.1
    assert abs(m.input.weight.std() * 4 - 1) < 0.1
    assert not m.input.bias.any()


def test_oscillators_and_lem_start_uniform():
    for p in mixers.LEM(48, 64).parameters():
        reaches(p, 1 / 8)
    for p in mixers.CoRNN(36, 54).parameters():
        reaches(p, 1 / 12)
    m = mixers.UnICORNN(24, 200)
    reaches(m.input.weight, math.sqrt(6 / 65 / 24))
    reaches(m.feedback, 1.0, 0.0)
    reaches(m.control, 0.1)
    assert not m.input.bias.any()


def test_time_constants_start_between_the_shortest_and_the_longest():
    reaches(mixers.LeakyRNN(300, shortest=2.0, longest=50.0).log_tau, math.log(50), math.log(2))


def test_a_step_of_unicornn_can_be_undone(float64):
    m = mixers.UnICORNN(4, 6)
    x = torch.randn(2, 30, 4)
    y, z = m(x)[1]
    step = m.dt * m.control.sigmoid()
    for t in reversed(range(30)):
        y = y - step * z
        z = z + step * ((m.feedback * y + m.input(x[:, t])).tanh() + m.alpha * y)
    torch.testing.assert_close(y, torch.zeros_like(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(z, torch.zeros_like(z), rtol=0, atol=1e-12)


def test_a_cfn_forgets_all_without_inputs():
    m = mixers.CFN(4, forget_bias=5.0)
    quiet = torch.zeros(1, 3000, 4)
    y, _ = m(quiet, mixers.cfn.CFNState(torch.ones(1, 4)))
    assert y[:, -1].abs().max() < y[:, 100].abs().max() / 3 < 0.1


@pytest.mark.parametrize(
    ("mixer", "options", "words"),
    [
        (mixers.MGU, {"variant": 4}, "mgu: variant = 4"),
        (mixers.MUT, {"variant": 0}, "mut: variant = 0"),
        (mixers.MUT, {"hidden": 5, "variant": 2}, "mut: hidden = 5 should be dim = 4 in variant 2"),
        (mixers.LEM, {"dt": 1.5}, "lem: dt = 1.5"),
        (mixers.CoRNN, {"gamma": 0.0}, "cornn: .* gamma = 0.0"),
        (mixers.UnICORNN, {"alpha": -1.0}, "unicornn: .* alpha = -1.0"),
        (mixers.SCRN, {"alpha": 1.0}, "scrn: alpha = 1.0"),
        (mixers.AntisymmetricRNN, {"epsilon": 0.0}, "^antisymmetric_rnn: epsilon = 0.0"),
        (mixers.GatedAntisymmetricRNN, {"gamma": -1.0}, "^gated_anti.*: .*gamma = -1.0"),
        (mixers.FastRNN, {"input_rank": 0}, "fast_rnn: input_rank = 0"),
        (mixers.FastGRNN, {"recurrent_rank": 0}, "fast_grnn: recurrent_rank = 0"),
        (mixers.LeakyRNN, {"leaks": "both"}, "leaky_rnn: leaks = 'both'"),
        (mixers.LeakyRNN, {"nonlinearity": "exp"}, "leaky_rnn: nonlinearity 'exp'"),
        (mixers.LeakyRNN, {"shortest": 9.0, "longest": 3.0}, "leaky_rnn: shortest = 9.0"),
        (mixers.JANET, {"longest": 2}, "chrono: longest = 2"),
    ],
)
def test_errors_say_what_is_wrong(mixer, options, words):
    with pytest.raises(ValueError, match=words):
        # Unwrapped: the hook that checks types would refuse some of these first.
        inspect.unwrap(mixer.__init__)(mixer.__new__(mixer), 4, **options)
