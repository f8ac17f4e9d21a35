"""Linear systems that are the same at all times, beside loops written from their papers.

The loops know no half of pairs and no diagonal forms: they keep whole states, step by step, of the
continuous system discretized by a matrix exponential or a linear solve.
"""

import math

import pytest
import torch
from torch.nn.functional import gelu

from statewise.mixers import (
    DSS,
    LMU,
    LRU,
    LSSL,
    S4,
    S4D,
    S5,
    DampedEMA,
    HiPPORNN,
    LiquidS4,
    LMUCell,
)
from statewise.mixers.parts import hippo

TIME, DIM = 23, 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def made(mixer, **options):
    """Return a mixer in float64, moved away from its start a little, and inputs."""
    mixer = mixer(DIM, **options).double()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return mixer, torch.randn(2, TIME, DIM).double()


def pairs(parameter):
    return torch.complex(parameter[..., 0], parameter[..., 1])


def doubled(v):
    return torch.cat([v, v.conj()])


def held(A, B, step):
    """Return a system in steps, with inputs that stay: zero-order hold by its definition."""
    joint = torch.zeros(len(B) + 1, len(B) + 1, dtype=A.dtype)
    joint[:-1, :-1], joint[:-1, -1] = A * step, B * step
    joint = torch.linalg.matrix_exp(joint)
    return joint[:-1, :-1], joint[:-1, -1]


def bilinear(A, B, step, alpha=0.5):
    left = torch.linalg.inv(torch.eye(len(B)).to(A) - alpha * step * A)
    return left @ (torch.eye(len(B)).to(A) + (1 - alpha) * step * A), left @ B * step


def respond(A, B, C, u):
    """Return C h_t of  h_t = A h_{t-1} + B u_t  for each row of u."""
    ys = []
    for row in u:
        h = torch.zeros_like(B)
        for value in row:
            h = A @ h + B * value
            ys.append((C * h).sum().real)
    return torch.stack(ys).view(u.shape)


def equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("start", hippo.DIAGONALS)
def test_s4d_is_its_whole_system(start):
    mixer, x = made(S4D, state=6, start=start)
    a = torch.complex(-mixer.log_rate.exp(), mixer.frequency)
    s = torch.stack(
        [
            respond(
                *held(doubled(a[j]).diag(), doubled(pairs(mixer.B)[j]), mixer.log_step[j].exp()),
                doubled(pairs(mixer.C)[j]),
                x[..., j],
            )
            for j in range(DIM)
        ],
        -1,
    )
    left, right = mixer.output[1](gelu(s + mixer.skip * x)).chunk(2, -1)
    equal(mixer(x)[0], left * right.sigmoid())


@pytest.mark.parametrize("reach", [None, TIME, 40])
def test_dss_is_the_convolution_of_its_paper(reach):
    mixer, x = made(DSS, state=5, reach=reach)
    a = torch.complex(-mixer.log_rate.exp(), mixer.frequency)
    step = mixer.log_step.exp()
    exponent = torch.complex(step[:, :1] * a.real, step[:, 1:] * a.imag)
    powers = (exponent[..., None] * torch.arange(reach or TIME)).exp()
    if reach is None:
        kernel = ((exponent.exp() - 1) / a)[..., None] * powers
    else:
        kernel = powers / powers.sum(-1, keepdim=True) / a[:, None]
    kernel = (pairs(mixer.W)[..., None] * kernel).sum(1).real
    s = torch.stack(
        [sum(kernel[:, back] * x[:, t - back] for back in range(t + 1)) for t in range(TIME)], 1
    )
    equal(mixer(x)[0], mixer.output[1](gelu(s + mixer.skip * x)))


def test_s4_is_hippo_in_its_own_coordinates():
    mixer = S4(DIM, state=6).double()
    x = torch.randn(2, TIME, DIM).double()
    form = hippo.normal_form(6)
    system = hippo.legs(6)
    s = torch.stack(
        [
            respond(
                *bilinear(*system, mixer.log_step[j].exp()),
                2 * (pairs(mixer.C)[j] @ form.V.mH).real,
                x[..., j],
            )
            for j in range(DIM)
        ],
        -1,
    )
    left, right = mixer.output[1](gelu(s + mixer.skip * x)).chunk(2, -1)
    # The mixer was made in float32, and HiPPO is not what float32 makes of it.
    torch.testing.assert_close(mixer(x)[0], left * right.sigmoid(), rtol=0, atol=1e-5)


def test_s4_is_its_whole_system_wherever_training_takes_it():
    mixer, x = made(S4, state=6)
    a = torch.complex(-mixer.log_rate.exp(), mixer.frequency)
    ys = []
    for j in range(DIM):
        P = doubled(pairs(mixer.P)[j])
        A = doubled(a[j]).diag() - P[:, None] * P.conj()
        A, B = bilinear(A, doubled(pairs(mixer.B)[j]), mixer.log_step[j].exp())
        ys.append(respond(A, B, doubled(pairs(mixer.C)[j]), x[..., j]))
    left, right = mixer.output[1](gelu(torch.stack(ys, -1) + mixer.skip * x)).chunk(2, -1)
    equal(mixer(x)[0], left * right.sigmoid())


@pytest.mark.parametrize("time", [1, 2, 3, 8, 101])
def test_the_cauchy_sums_of_s4_are_its_kernel(time):
    mixer, _ = made(S4, state=64)
    transition, write, read = mixer.system(torch.float64)
    h, expected = write, []
    for _ in range(time):
        expected.append((read * h).sum(-1))
        h = (transition @ h[..., None])[..., 0]
    found = mixer.kernel(transition, read, time)
    expected = torch.stack(expected, 1)
    assert (found - expected).norm() < 1e-11 * expected.norm()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_lssl_is_its_whole_system(alpha):
    mixer, x = made(LSSL, state=5, alpha=alpha)
    T = mixer.main.diag() + mixer.below.diag(-1) + mixer.above.diag(1)
    A = mixer.left.diag() @ (mixer.middle.diag() + torch.linalg.inv(T)) @ mixer.right.diag()
    s = torch.stack(
        [
            respond(*bilinear(A, mixer.B, mixer.log_step[j].exp(), alpha), mixer.C[j], x[..., j])
            for j in range(DIM)
        ],
        -1,
    )
    equal(mixer(x)[0], mixer.output[1](gelu(s + mixer.skip * x)))


def test_lssl_begins_as_legs_and_may_stay_so():
    mixer = LSSL(DIM, state=16, fixed=True)
    found, expected = mixer.transition(torch.float64), hippo.legs(16).A
    assert (found - expected).norm() < 1e-6 * expected.norm()
    learning = {name for name, p in mixer.named_parameters() if p.requires_grad}
    assert learning == {"C", "skip", "output.1.weight", "output.1.bias"}


def test_s5_is_its_whole_system():
    mixer, x = made(S5, state=8, blocks=2)
    a = torch.complex(mixer.rate, mixer.frequency)
    B = torch.complex(*mixer.enter.weight.chunk(2, 0))
    real, imaginary = mixer.read.weight.chunk(2, 1)
    C = torch.complex(real, -imaginary)
    decay = (mixer.log_step.exp() * a).exp()
    h, ys = torch.zeros(2, 4, dtype=torch.complex128), []
    for x_t in x.unbind(1):
        h = decay * h + (decay - 1) / a * (x_t.to(B.dtype) @ B.T)
        ys.append(((h @ C.T) + (h.conj() @ C.mH)).real)
    s = gelu(torch.stack(ys, 1) + mixer.skip * x)
    equal(mixer(x)[0], s * (s @ mixer.gate.weight.T + mixer.gate.bias).sigmoid())


def test_s5_begins_as_blocks_of_hippo_in_its_basis():
    mixer = S5(300, state=64, blocks=4)
    a = hippo.normal_form(16).eigenvalues
    torch.testing.assert_close(mixer.frequency, a.imag.float().repeat(4))
    assert (mixer.rate == -0.5).all()
    V = torch.block_diag(*[hippo.normal_form(16).V] * 4).to(torch.complex64)
    B = torch.complex(*mixer.enter.weight.chunk(2, 0))
    assert 2 * (V @ B).real.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert torch.equal(S5(DIM, state=4)(torch.zeros(1, 2, DIM))[0], torch.zeros(1, 2, DIM))


def test_lru_is_its_equation():
    mixer, x = made(LRU, state=5)
    decay = torch.polar((-mixer.log_rate.exp()).exp(), mixer.log_phase.exp())
    B = torch.complex(*mixer.enter.weight.chunk(2, 0))
    real, imaginary = mixer.read.weight.chunk(2, 1)
    h, ys = torch.zeros(2, 5, dtype=torch.complex128), []
    for x_t in x.unbind(1):
        h = decay * h + mixer.log_scale.exp() * (x_t.to(B.dtype) @ B.T)
        ys.append((h @ torch.complex(real, -imaginary).T).real)
    left, right = mixer.output[1](gelu(torch.stack(ys, 1) + mixer.skip * x)).chunk(2, -1)
    equal(mixer(x)[0], left * right.sigmoid())


def test_lru_begins_on_its_ring():
    mixer = LRU(2, state=20_000, ring=(0.6, 0.99), phase=0.3)
    modulus = (-mixer.log_rate.exp()).exp()
    assert 0.6 - 1e-6 < modulus.min() < 0.61
    assert 0.98 < modulus.max() < 0.99 + 1e-6
    # Uniform in area.
    inside = (0.8**2 - 0.6**2) / (0.99**2 - 0.6**2)
    assert (modulus < 0.8).float().mean().item() == pytest.approx(inside, abs=0.02)
    phase = mixer.log_phase.exp()
    assert phase.max() <= 0.3
    assert phase.mean().item() == pytest.approx(0.15, abs=0.01)
    torch.testing.assert_close(mixer.log_scale.exp(), (1 - modulus**2).sqrt(), rtol=1e-4, atol=0)
    # So that white inputs of variance one leave a state of variance one.
    _, state = LRU(2, state=300, ring=(0.6, 0.9))(torch.randn(1000, 60, 2))
    assert state.h.abs().square().mean().item() == pytest.approx(1, abs=0.1)


def test_damped_ema_is_its_equation():
    mixer, x = made(DampedEMA, state=3)
    p, d = mixer.rate.sigmoid(), mixer.damping.sigmoid()
    h, ys = torch.zeros(2, DIM, 3).double(), []
    for x_t in x.unbind(1):
        h = p * (mixer.enter * x_t[..., None]) + (1 - p * d) * h
        ys.append((mixer.read * h / 3**0.5).sum(-1) + mixer.skip * x_t)
    s = torch.stack(ys, 1)
    equal(mixer(x)[0], s * s.sigmoid())


def test_damped_ema_begins_with_a_memory_of_a_few_steps():
    mixer = DampedEMA(100)
    decay = 1 - mixer.rate.sigmoid() * mixer.damping.sigmoid()
    assert decay.mean().item() == pytest.approx(0.75, abs=0.01)
    assert (mixer.enter.mean(0).sign() == torch.tensor([1.0, -1.0] * 8)).all()
    assert mixer.enter.std(0).mean().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("size", [0.01, 30.0])
def test_liquid_s4_is_its_recurrence_within_the_disc(size):
    mixer, x = made(LiquidS4, state=4)
    x = size * x
    a = torch.complex(-mixer.log_rate.exp(), mixer.frequency)
    a, B, C = (torch.cat([v, v.conj()], -1) for v in (a, pairs(mixer.B), pairs(mixer.C)))
    decay = (mixer.log_step.exp()[:, None] * a).exp()
    h, ys, largest = torch.zeros(2, DIM, 4, dtype=a.dtype), [], 0
    for x_t in x.unbind(1):
        drive = (decay - 1) / a * B * x_t[..., None]
        now = decay + drive
        largest = max(largest, now.abs().max().item())
        h = torch.where(now.abs() > 1, now / now.abs(), now) * h + drive
        ys.append((C * h).sum(-1).real)
    assert (largest > 1) == (size > 1)  # both ways are taken
    left, right = mixer.output[1](gelu(torch.stack(ys, 1) + mixer.skip * x)).chunk(2, -1)
    equal(mixer(x)[0], left * right.sigmoid())


def test_liquid_s4_sees_products_of_inputs():
    mixer, x = made(LiquidS4, state=4, steps=(0.1, 0.1))
    mixer.output = torch.nn.Identity()
    nothing = mixer(0 * x)[0]
    curved = mixer(x)[0] + mixer(-x)[0] - 2 * nothing
    assert curved.norm() > 0.01 * mixer(x)[0].norm()


def test_lmu_is_the_published_memory():
    order, window = 4, 9
    mixer, x = made(LMU, signals=3, order=order, window=window)
    i, j = torch.arange(order).double()[:, None], torch.arange(order).double()
    A = (2 * i + 1) * torch.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    A, B = held(A, ((2 * i + 1) * (-1.0) ** i)[:, 0], 1 / window)
    m, ys = torch.zeros(2, 3, order).double(), []
    for x_t in x.unbind(1):
        m = m @ A.T + gelu(mixer.enter(x_t))[..., None] * B
        ys.append(gelu(mixer.read(m.flatten(1)) + mixer.skip(x_t)))
    equal(mixer(x)[0], torch.stack(ys, 1))


def test_lmu_remembers_its_window_in_any_precision():
    for dtype in (torch.float64, torch.bfloat16):
        mixer = LMU(1, order=12, window=100).to(dtype)
        with torch.no_grad():
            mixer.enter.weight.fill_(1)
            mixer.enter.bias.fill_(8)  # where gelu is the identity
        x = torch.linspace(0, 12, 400).sin()[None, :, None].to(dtype)
        m = mixer(x)[1].m[0, 0].double()
        age = torch.arange(5, 95).double() / 100
        scale = (-1.0) ** torch.arange(12) / (2 * torch.arange(12) + 1.0).sqrt()
        found = (hippo.basis("legt", 12, 2 * age) * scale) @ m
        assert (found - 8 - x[0, :, 0].double().flip(0)[5:95]).abs().max() < 0.05


def test_lmu_cell_is_its_equations():
    mixer, x = made(LMUCell, hidden=3, order=5, window=9)
    A, B = held(*hippo.delay(5), 1 / 9)
    h, m, ys = torch.zeros(2, 3).double(), torch.zeros(2, 5).double(), []
    for x_t in x.unbind(1):
        read = ((mixer.write_input, x_t), (mixer.write_hidden, h), (mixer.write_memory, m))
        m = m @ A.T + sum(v @ layer.weight.T for layer, v in read) * B
        read = ((mixer.from_input, x_t), (mixer.from_hidden, h), (mixer.from_memory, m))
        h = sum(v @ layer.weight.T for layer, v in read).tanh()
        ys.append(h)
    equal(mixer(x)[0], torch.stack(ys, 1))
    fresh = LMUCell(DIM)
    assert not fresh.write_memory.weight.any()
    assert fresh.write_input.weight.abs().max() <= (3 / DIM) ** 0.5


@pytest.mark.parametrize("measure", hippo.MEASURES)
def test_hippo_rnn_is_its_equations_from_every_reset(measure):
    mixer, x = made(HiPPORNN, hidden=3, signals=2, order=4, measure=measure, window=9)
    reset = torch.zeros(2, TIME, dtype=torch.bool)
    reset[0, 8] = True
    ys = torch.zeros(2, TIME, 3).double()
    for row, start, stop in ((0, 0, 8), (0, 8, TIME), (1, 0, TIME)):
        h, m = torch.zeros(3).double(), torch.zeros(2, 4).double()
        for k in range(stop - start):
            x_t = x[row, start + k]
            u = mixer.write.weight @ torch.cat([x_t, h]) + mixer.write.bias
            A, B = hippo.MEASURES[measure](4)
            if measure != "legs":
                A, B = held(A, B, 2 / 9)
            elif k > 0:
                A, B = bilinear(A, B, 1 / k)
            else:
                B = torch.tensor([1.0, 0, 0, 0]).double()
            m = m @ A.T + u[:, None] * B
            candidate, gate = (
                mixer.read.weight @ torch.cat([x_t, m.flatten()]) + mixer.read.bias
            ).chunk(2)
            h = (1 - gate.sigmoid()) * h + gate.sigmoid() * candidate.tanh()
            ys[row, start + k] = h
    equal(mixer(x, reset=reset)[0], ys)


@pytest.mark.parametrize("mixer", [S4, S4D, DSS, LSSL])
def test_steps_of_time_begin_between_those_asked_for(mixer):
    step = mixer(500, state=2, steps=(0.01, 0.02)).log_step.exp()
    assert 0.01 - 1e-6 < step.min() < 0.0105
    assert 0.019 < step.max() < 0.02 + 1e-6


def test_s4_and_s4d_begin_at_hippos_spectrum():
    expected = hippo.normal_form(8)
    for mixer in (S4(DIM, state=8), S4D(DIM, state=8)):
        torch.testing.assert_close(mixer.log_rate, torch.full((DIM, 4), math.log(0.5)))
        torch.testing.assert_close(mixer.frequency[1], expected.eigenvalues.imag.float())
        torch.testing.assert_close(mixer.B[1, :, 0], expected.B.real.float())
    lin = S4D(DIM, state=8, start="lin")
    torch.testing.assert_close(lin.frequency[2], torch.pi * torch.arange(4.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: S4(DIM, state=5), "s4: state = 5 should be even"),
        (lambda: S4D(DIM, state=0), "s4d: state = 0 should be even"),
        (lambda: S4D(DIM, start="real"), "s4d: start = 'real' should be one of legs, lin, inv"),
        (lambda: DSS(DIM, reach=0), "dss: state = 64 and reach = 0 should be at least 1"),
        (lambda: LSSL(DIM, state=1), "lssl: state = 1 should be at least 2"),
        (lambda: LSSL(DIM, alpha=2.0), "lssl: alpha = 2.0 should be from 0 to 1"),
        (lambda: S5(DIM, state=8, blocks=3), "s5: blocks = 3 should divide state = 8"),
        (lambda: S5(DIM, state=6, blocks=2), "s5: blocks = 2 should divide state = 6"),
        (lambda: LRU(DIM, ring=(0.5, 0.5)), r"lru: ring = \(0.5, 0.5\) should ascend"),
        (lambda: LRU(DIM, phase=0.0), "lru: phase = 0.0 should be above 0"),
        (lambda: DampedEMA(DIM, state=0), "damped_ema: state = 0 should be at least 1"),
        (lambda: LMUCell(DIM, window=0), "lmu_cell: order = 64 and window = 0 should be at least"),
        (lambda: HiPPORNN(DIM, measure="x"), "hippo_rnn: measure = 'x' should be one of legs"),
        (lambda: HiPPORNN(DIM, signals=0), "hippo_rnn: signals = 0"),
        (lambda: LMU(DIM, order=0), "lmu: order = 0 and window = 128 should be at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
