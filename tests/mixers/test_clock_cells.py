"""Cells with clocks, orthogonal matrices, diagonal recurrence, and reservoirs: as plain loops."""

import math

import pytest
import torch

from statewise import mixers, testing
from statewise.mixers import (
    ELSTM,
    M2RNN,
    SCORNN,
    URN,
    CfC,
    ClockworkRNN,
    DeepEchoState,
    DilatedRNN,
    EchoState,
    ExpRNN,
    ParaGRU,
    ParaLSTM,
    PhasedLSTM,
    ResidualEchoState,
)
from statewise.ops import programs

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def sigma(x):
    return 1 / (1 + torch.exp(-x))


def clockwork_rnn(m, xs):
    width = m.hidden // 3
    W, b, U = m.input.weight, m.input.bias, m.recurrent.weight
    modules = [torch.zeros(width)] * 3
    for t, x in enumerate(xs):
        before = list(modules)
        for i, period in enumerate((1, 2, 5)):
            rows = slice(i * width, (i + 1) * width)
            if t % period == 0:
                a = W[rows] @ x + b[rows]
                for j in range(i, 3):
                    a = a + U[rows, j * width : (j + 1) * width] @ before[j]
                modules[i] = a.tanh()
        yield torch.cat(modules)


def phased_lstm(m, xs, elapsed=None):
    h = c = torch.zeros(m.hidden)
    W, U = m.input.weight.chunk(4), m.recurrent.weight.chunk(4)
    b = m.input.bias.chunk(4)
    time = 0.0
    for t, x in enumerate(xs):
        time = time + (1.0 if elapsed is None else float(elapsed[t]))
        i, f, g, o = (W[n] @ x + U[n] @ h + b[n] for n in range(4))
        w_i, w_f, w_o = m.peepholes
        new = sigma(f + w_f * c) * c + sigma(i + w_i * c) * torch.tanh(g)
        shown = sigma(o + w_o * new) * torch.tanh(new)
        k = torch.zeros(m.hidden)
        for n in range(m.hidden):
            period = float(m.period[n])
            p = math.fmod(time - float(m.shift[n]), period) / period
            p += p < 0
            if p < m.ratio / 2:
                k[n] = 2 * p / m.ratio
            elif p < m.ratio:
                k[n] = 2 - 2 * p / m.ratio
            else:
                k[n] = m.leak * p if m.training else 0.0
        c, h = k * new + (1 - k) * c, k * shown + (1 - k) * h
        yield h


def modrelu(v, b):
    return torch.sign(v) * torch.clamp(v.abs() + b, min=0)


def skew(m):
    A = torch.zeros(m.hidden, m.hidden)
    for i in range(m.hidden):
        for j in range(i + 1, m.hidden):
            A[i, j], A[j, i] = m.skew[i, j], -m.skew[i, j]
    return A


def exp_rnn(m, xs):
    B, term = torch.eye(m.hidden), torch.eye(m.hidden)
    for n in range(1, 40):
        term = term @ skew(m) / n
        B = B + term
    h = torch.zeros(m.hidden)
    for x in xs:
        h = modrelu(m.input.weight @ x + m.base @ B @ h, m.bias)
        yield h


def scornn(m, xs):
    A, one = skew(m), torch.eye(m.hidden)
    W = torch.linalg.inv(one + A) @ (one - A) @ torch.diag(m.signs)
    h = torch.zeros(m.hidden)
    for x in xs:
        h = modrelu(m.input.weight @ x + W @ h, m.bias)
        yield h


def urn(m, xs):
    blocks, block = m.start.shape
    h = m.start.flatten()
    for x in xs:
        turns = []
        for numbers in (m.weight @ x).view(blocks, -1):
            numbers, A = iter(numbers), torch.zeros(block, block)
            for i in range(block):
                for j in range(i + 1, block):
                    A[i, j] = next(numbers, 0.0)
            turns.append(torch.linalg.matrix_exp(A - A.T))
        h = torch.block_diag(*turns) @ h
        yield h


def m2rnn(m, xs):
    heads, value = m.D.shape
    taps = m.convolution.weight  # (features, width), the last for the present
    inputs = xs @ m.input.weight.T
    S = torch.zeros(heads, m.key, value)
    for t, x in enumerate(xs):
        u = sum(taps[:, -1 - back] * inputs[t - back] for back in range(taps.shape[1]) if back <= t)
        if m.convolution.bias is not None:
            u = u + m.convolution.bias
        u = u * sigma(u)
        q, k, v = u.split([m.key, m.key, heads * value])
        f = m.clock.project.weight @ x + m.clock.bias
        f = torch.exp(-m.clock.log_rate.exp() * torch.log(1 + torch.exp(f)))
        o = []
        for n in range(heads):
            v_n = v[n * value : (n + 1) * value]
            Z = torch.tanh(S[n] @ m.rows.weight[n] + torch.outer(k, v_n))
            S[n] = f[n] * S[n] + (1 - f[n]) * Z
            o.append(S[n].T @ q + m.D[n] * v_n)
        gate = m.gate.weight @ x
        shown = gate * sigma(gate) * torch.cat(o)
        shown = shown / (shown.square().mean() + m.norm.eps).sqrt()
        yield m.output.weight @ (m.norm.weight.flatten() * shown)


def by_head(m, x, gate):
    parts = x.chunk(m.heads)
    return torch.cat([m.input[gate, n] @ parts[n] for n in range(m.heads)]) + m.bias[gate]


def para_gru(m, xs):
    h, a = torch.zeros(m.hidden), m.recurrent
    for x in xs:
        z = sigma(a[0] * h + by_head(m, x, 0))
        r = sigma(a[1] * h + by_head(m, x, 1))
        n = torch.tanh(a[2] * (h * r) + by_head(m, x, 2))
        h = (1 - z) * h + z * n
        yield h


def para_lstm(m, xs):
    h, c, (a_f, a_o, a_g, p_f, p_o) = torch.zeros(m.hidden), torch.zeros(m.hidden), m.recurrent
    for x in xs:
        f = sigma(a_f * h + by_head(m, x, 0) + p_f * c)
        c = f * c + (1 - f) * torch.tanh(a_g * h + by_head(m, x, 2))
        h = sigma(a_o * h + by_head(m, x, 1) + p_o * c) * torch.tanh(c)
        yield h


def elstm(m, xs):
    c = torch.zeros(m.hidden)
    for x in xs:
        z = torch.tanh(m.input[1, 0] @ x + m.recurrent[1] * c + m.bias[1])
        f = sigma(m.input[0, 0] @ x + m.recurrent[0] * c + m.bias[0])
        c = f * c + (1 - f) * z
        yield c * sigma(m.output.weight @ torch.cat([x, c]) + m.output.bias)


def cfc(m, xs, elapsed=None):
    h = torch.zeros(m.hidden)
    for t, x in enumerate(xs):
        v = torch.cat([x, h])
        for layer in m.backbone:
            v = 1.7159 * torch.tanh(0.666 * (layer.weight @ v + layer.bias))
        a, b, k, other = (m.heads.weight @ v + m.heads.bias).chunk(4)
        k = sigma(k * (1.0 if elapsed is None else elapsed[t]) + other)
        h = (a.tanh() * (1 - k) if m.gate else a.tanh()) + k * b.tanh()
        yield h


def echo_state(m, xs):
    h = torch.zeros(m.hidden)
    for x in xs:
        h = (1 - m.leak) * h + m.leak * torch.tanh(m.input @ x + m.bias + m.recurrent @ h)
        yield h


def deep_echo_state(m, xs):
    layers = []
    for layer in m.layers:
        xs = torch.stack(list(echo_state(layer, xs)))
        layers.append(xs)
    yield from torch.cat(layers, 1)


def residual_echo_state(m, xs):
    h, (W, branch) = torch.zeros(m.hidden), m.recurrent.chunk(2)
    for x in xs:
        h = m.alpha * branch @ h + m.beta * torch.tanh(m.input @ x + m.bias + W @ h)
        yield h


def rebased(m):
    m.rebase()
    torch.nn.init.normal_(m.skew)
    return m


CELLS = [
    (ClockworkRNN(4, 6, periods=(1, 2, 5)), clockwork_rnn),
    (PhasedLSTM(4, 6, longest=3.0, ratio=0.4), phased_lstm),
    (PhasedLSTM(4, 6, longest=3.0, leak=0.3).train(), phased_lstm),
    (ExpRNN(4, 6), exp_rnn),
    (rebased(ExpRNN(4, 5, start="henaff")), exp_rnn),
    (SCORNN(4, 6, negative=1, input_scale=0.5), scornn),
    (URN(4, hidden=6), urn),
    (URN(4, hidden=6, block=3, entries=2), urn),
    (M2RNN(4, heads=2, key=3, value=5), m2rnn),
    (ParaGRU(4, 6, heads=2), para_gru),
    (ParaLSTM(4, 6, heads=2), para_lstm),
    (ELSTM(4, 6), elstm),
    (CfC(4, 6, units=7, layers=2), cfc),
    (CfC(4, 6, units=7, gate=False), cfc),
    (EchoState(4, 6, leak=0.3, density=0.5, bias_scale=0.5), echo_state),
    (DeepEchoState(4, 6, layers=3, leak=0.5, density=0.5, bias_scale=0.5), deep_echo_state),
    (ResidualEchoState(4, 6, alpha=0.8, beta=0.4, bias_scale=0.5), residual_echo_state),
]
NAMES = [f"{type(mixer).__name__} {place}" for place, (mixer, _) in enumerate(CELLS)]


@pytest.fixture
def wide():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def shaken(mixer):
    """Return a mixer in float64 whose parameters are none of them zero."""
    mixer = mixer.double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return mixer


@torch.no_grad()
@pytest.mark.parametrize(("mixer", "loop"), CELLS, ids=NAMES)
def test_a_plain_loop_gives_the_same(mixer, loop, wide):
    mixer = shaken(mixer)
    x = torch.randn(2, 12, 4)
    y, _ = mixer(x)
    for row in range(2):
        expected = torch.stack(list(loop(mixer, x[row])))
        torch.testing.assert_close(y[row], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "mixer", [m for m, _ in CELLS if isinstance(m, mixers.Cell)], ids=lambda m: type(m).__name__
)
def test_it_is_read(mixer):
    mixer = mixer.float()
    x = torch.zeros(2, mixer.dim)
    assert isinstance(mixer.reading(x, list(mixer.initial_state(2))), programs.Reading)


@torch.no_grad()
@pytest.mark.parametrize(
    ("mixer", "loop"),
    [(PhasedLSTM(4, 6, longest=2.0, ratio=0.6), phased_lstm), (CfC(4, 6, units=7), cfc)],
    ids=["phased_lstm", "cfc"],
)
def test_time_that_has_passed_is_read(mixer, loop, wide):
    mixer = shaken(mixer)
    x, elapsed = torch.randn(2, 12, 4), 3 * torch.rand(2, 12)
    y, after = mixer(x, elapsed=elapsed)
    for row in range(2):
        expected = torch.stack(list(loop(mixer, x[row], elapsed[row])))
        torch.testing.assert_close(y[row], expected, rtol=1e-9, atol=1e-9)
    # The same in steps, in pieces, and from a reset on.
    state = mixer.initial_state(2)
    for t in range(12):
        answer, state = mixer.step(x[:, t], state, elapsed=elapsed[:, t])
        torch.testing.assert_close(answer, y[:, t])
    torch.testing.assert_close(state, after)
    _, middle = mixer(x[:, :5], elapsed=elapsed[:, :5])
    torch.testing.assert_close(mixer(x[:, 5:], middle, elapsed=elapsed[:, 5:])[0], y[:, 5:])
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[0, [3, 7]] = True
    again, _ = mixer(x, elapsed=elapsed, reset=reset)
    fresh, _ = mixer(x[:, 7:], elapsed=elapsed[:, 7:])
    torch.testing.assert_close(again[0, 7:], fresh[0])
    torch.testing.assert_close(again[1], y[1])
    padded = torch.where(torch.arange(12) < torch.tensor([[7], [12]]), elapsed, torch.nan)
    short, final = mixer(x, elapsed=padded, lengths=torch.tensor([7, 12]))
    torch.testing.assert_close(short[0, :7], y[0, :7])
    assert all(leaf.isfinite().all() for leaf in final)


def test_times_that_do_not_fit_are_refused():
    with pytest.raises(Exception, match="elapsed"):
        CfC(4)(torch.zeros(2, 3, 4), elapsed=torch.zeros(2, 4))


@torch.no_grad()
@pytest.mark.parametrize("dilation", [1, 2, 3, 7])
@pytest.mark.parametrize("time", [0, 1, 5, 9])
def test_a_dilated_mixer_is_its_sequences(dilation, time):
    mixer = DilatedRNN(4, mixer={"name": "lstm", "hidden": 3}, dilation=dilation).double()
    x = torch.randn(4, time, 4, dtype=torch.float64)
    reset = torch.rand(4, time) < torch.tensor([[0.0], [0.2], [0.5], [1.0]])
    lengths = torch.tensor([time, time // 2, time, max(time - 1, 0)])
    earlier = mixer(torch.randn(4, 4, 4, dtype=torch.float64))[1]
    y, after = mixer(x, earlier, reset=reset, lengths=lengths)
    for row in range(4):
        # What the mixer remembers for each sequence, and which one is next.
        inner = [tuple(leaf[row : row + 1, s] for leaf in earlier.inner) for s in range(dilation)]
        phase = int(earlier.phase[row])
        for t in range(int(lengths[row])):
            if reset[row, t]:
                start = mixer.mixer.initial_state(1)
                inner, phase = [tuple(start)] * dilation, 0
            state = type(mixer.mixer.initial_state(1))(*inner[phase])
            answer, state = mixer.mixer.step(x[row : row + 1, t], state)
            inner[phase], phase = tuple(state), (phase + 1) % dilation
            torch.testing.assert_close(y[row, t], answer[0], rtol=1e-9, atol=1e-9)
        assert int(after.phase[row]) == phase
        for s in range(dilation):
            for found, leaf in zip(after.inner, inner[s], strict=True):
                torch.testing.assert_close(found[row, s], leaf[0], rtol=1e-9, atol=1e-9)


def test_a_dilated_mixer_keeps_to_the_laws_of_what_it_wraps():
    for spec in ("min_gru", {"name": "short_convolution", "width": 3}, "clockwork_rnn"):
        for law in (
            testing.a_reset_is_a_fresh_start,
            testing.padding_changes_nothing,
            testing.steps_equal_forward,
            testing.splits_anywhere,
        ):
            wrapped = lambda spec=spec: DilatedRNN(4, mixer=spec, dilation=2)  # noqa: E731
            testing.hold(law, wrapped, torch.float64, times=(0, 1, 2, 5))


def test_orthogonal_matrices_stay_orthogonal():
    for mixer in (ExpRNN(3, 8), ExpRNN(3, 7, start="henaff"), SCORNN(3, 8)):
        Q = shaken(mixer).transition()
        torch.testing.assert_close(Q @ Q.T, torch.eye(len(Q), dtype=Q.dtype))


def test_orthogonal_matrices_start_with_the_angles_of_their_papers():
    signless = SCORNN(3, 200, negative=0).double().transition()
    angles = torch.linalg.eigvals(signless).angle()
    assert angles.abs().max() <= math.pi / 2 + 1e-6
    assert 0.6 < angles.abs().mean() < 0.95  # uniform in (0, pi / 2): 0.785
    henaff = ExpRNN(3, 200, start="henaff").double()
    assert henaff.skew.abs().max() <= math.pi < 3.3
    assert henaff.skew.abs().max() > 3
    cayley = ExpRNN(3, 200).double()
    assert 0.9 < cayley.skew.abs().max() <= 1  # tan(u / 2)
    assert (SCORNN(3, 8, negative=3).signs == -1).sum() == 3
    assert SCORNN(3, 8).input.weight.abs().max() <= 0.01


def test_a_moved_base_changes_no_answer():
    mixer = shaken(ExpRNN(4, 6))
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    before, _ = mixer(x)
    mixer.rebase()
    assert not mixer.skew.any()
    torch.testing.assert_close(mixer(x)[0], before)


def test_a_unitary_network_keeps_its_length():
    mixer = URN(4, hidden=6).double()
    y, _ = mixer(10 * torch.randn(2, 50, 4, dtype=torch.float64))
    torch.testing.assert_close(y.norm(dim=-1), mixer.start.norm().expand(2, 50))


def test_slow_modules_rest():
    mixer = ClockworkRNN(4, 6, periods=(1, 3, 4))
    y, _ = mixer(torch.randn(1, 24, 4))
    changed = (y[0, 1:] != y[0, :-1]).reshape(23, 3, 2).any(2)
    for module, period in enumerate((1, 3, 4)):
        expected = torch.arange(1, 24) % period == 0
        assert torch.equal(changed[:, module], expected)


def test_starts_are_those_of_the_papers():
    clockwork = ClockworkRNN(50, 200)
    assert 0.09 < clockwork.recurrent.weight.std() < 0.11
    phased = PhasedLSTM(4, 500)
    assert math.e <= phased.period.min() < 4 < 300 < phased.period.max() <= math.e**6
    assert (phased.shift >= 0).all()
    assert (phased.shift <= phased.period).all()
    assert phased.input.bias.reshape(4, -1).mean(1).tolist() == [0, 2, 0, 0]
    gru, lstm = ParaGRU(60, 500), ParaLSTM(60, 500, heads=2)
    for mixer in (gru, lstm):
        torch.testing.assert_close(mixer.bias[0], -torch.linspace(0, 1, 500))
        assert not mixer.bias[1:].any()
        assert mixer.recurrent.std().item() == pytest.approx(2 / 2500**0.5, rel=0.1)
    assert 0.98 < gru.input.abs().max() / (6 / 560) ** 0.5 <= 1
    assert 0.98 < lstm.input.abs().max() / (6 / 280) ** 0.5 <= 1
    elstm = ELSTM(40, 200, forget_bias=3.0)
    assert 0.09 < elstm.input.std() < 0.11
    assert elstm.bias.mean(1).tolist() == pytest.approx([3, 0], abs=0.05)
    matrix = M2RNN(40)
    assert torch.equal(matrix.rows.weight[3], torch.eye(16))
    assert 0.019 < matrix.input.weight.std() < 0.021
    assert matrix.clock.log_rate.exp().max() <= 16


@pytest.mark.parametrize("leak", [1.0, 0.3])
@pytest.mark.parametrize("density", [0.01, 0.2, 1.0])
def test_reservoirs_have_the_radius_asked_for(leak, density):
    mixer = EchoState(3, 50, radius=0.8, leak=leak, density=density, input_scale=0.3).double()
    whole = (1 - leak) * torch.eye(50) + leak * mixer.recurrent
    assert torch.linalg.eigvals(whole).abs().max() == pytest.approx(0.8, abs=1e-5)
    off = mixer.recurrent - torch.diag(mixer.recurrent.diagonal())
    assert ((off != 0).sum(1) <= max(1, density * 50)).all()
    assert 0.28 < mixer.input.abs().max() <= 0.3
    assert not mixer.bias.any()


def test_reservoirs_without_a_leak_have_the_radius_of_their_matrix():
    mixer = ResidualEchoState(3, 30, radius=0.7)
    W = mixer.recurrent[:30]
    assert torch.linalg.eigvals(W).abs().max() == pytest.approx(0.7, abs=1e-5)


def test_reservoirs_scale_what_is_between_layers():
    mixer = DeepEchoState(3, 40, layers=3, input_scale=0.5, inner_scale=2.0)
    assert [round(float(layer.input.abs().max()), 1) for layer in mixer.layers] == [0.5, 2.0, 2.0]
    assert mixer.out == 120


@pytest.mark.parametrize("branch", ["orthogonal", "cycle", "skew", "identity"])
def test_branches_are_orthogonal(branch):
    matrix = ResidualEchoState(3, 8, branch=branch).recurrent[8:]
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8))


def test_branches_are_those_of_the_paper():
    def branch(name):
        return ResidualEchoState(3, 4, branch=name).recurrent[4:]

    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert (branch("cycle") @ x).tolist() == [4, 1, 2, 3]
    assert (branch("skew") @ x).tolist() == [2, -1, 4, -3]
    assert (branch("identity") @ x).tolist() == [1, 2, 3, 4]
    torch.testing.assert_close(branch("entangled") @ x, 0.9 * x + 0.1 * x.mean())


def test_reservoirs_have_nothing_to_train_and_keep_their_weights_in_a_file():
    for name in ("echo_state", "deep_echo_state", "residual_echo_state"):
        one, other = (mixers.catalogue()[name].example() for _ in range(2))
        assert list(one.parameters()) == []
        x = torch.randn(2, 5, one.dim, requires_grad=True)
        assert not torch.equal(one(x)[0], other(x)[0])
        other.load_state_dict(one.state_dict())
        y, _ = other(x)
        torch.testing.assert_close(y, one(x)[0])
        y.sum().backward()
        assert x.grad.abs().sum() > 0
        assert one.double().initial_state(2).h.dtype == torch.float64


def test_a_state_forgets_in_an_echo_state_network():
    mixer = EchoState(2, 40, radius=0.5, density=1.0)
    x = torch.randn(1, 200, 2)
    start = mixer.initial_state(1)._replace(h=torch.ones(1, 40))
    torch.testing.assert_close(mixer(x, start)[0][:, -1], mixer(x)[0][:, -1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ClockworkRNN(4, periods=(2, 1)), r"clockwork_rnn: periods \[2, 1\]"),
        (lambda: ClockworkRNN(5), "clockwork_rnn: hidden = 5"),
        (lambda: DilatedRNN(8, mixer="attention"), "dilated_rnn: mixer 'attention'"),
        (lambda: DilatedRNN(4, mixer="bidirectional"), "dilated_rnn: mixer 'bidirectional'"),
        (lambda: DilatedRNN(4, dilation=0), "dilated_rnn: dilation = 0"),
        (lambda: PhasedLSTM(4, ratio=0.0), "phased_lstm: .* ratio = 0.0"),
        (lambda: ExpRNN(4, 1), "exp_rnn: hidden = 1"),
        (lambda: SCORNN(4, negative=5), "scornn: negative = 5"),
        (lambda: URN(4, entries=9), "urn: entries = 9"),
        (lambda: URN(4, hidden=5, block=2), "urn: hidden = 5"),
        (lambda: M2RNN(4, key=0), "m2rnn: .* key = 0"),
        (lambda: ParaGRU(4, heads=3), "para_gru: heads = 3"),
        (lambda: ParaLSTM(4, heads=3), "para_lstm: heads = 3"),
        (lambda: CfC(4, units=0), "cfc: units = 0"),
        (lambda: EchoState(4, leak=0.0), "echo_state: .* leak = 0.0"),
        (lambda: DeepEchoState(4, layers=0), "deep_echo_state: layers = 0"),
        (lambda: ResidualEchoState(5, branch="skew"), "residual_echo_state: branch 'skew'"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
