"""Recurrences found as fixed points, beside what solves them one time after another."""

import pytest
import torch
from torch.nn.functional import sigmoid, silu

from statewise.analysis.trajectories import stepped
from statewise.mixers import FixedPoint, Implicit
from statewise.mixers.parts.fixed_point import Solver

pytestmark = pytest.mark.filterwarnings("ignore:.*the native core is missing")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def dense(m, x):
    """Return the outputs, by a linear system at each time."""
    h, ys = torch.zeros(m.inner, dtype=x.dtype), []
    for x_t in x:
        u, z = m.input(x_t).chunk(2)
        gate, b = m.gates(u).chunk(2)
        told = torch.cat([b, m.mixing(u)]) + (0 if m.shift is None else m.shift(h))
        b, p, s = told.split([m.inner, m.rank * m.inner, m.rank])
        keep, v = torch.diag(sigmoid(gate)), silu(b) * u
        P = torch.zeros(m.inner, m.inner, dtype=x.dtype)
        for p_j, s_j in zip(p.view(m.rank, -1), s, strict=True):
            p_j = p_j / (p_j.abs().max() * p_j.abs().sum()).sqrt()
            P += m.solver.contraction / m.rank * sigmoid(s_j) * torch.outer(p_j, p_j)
        assert P.abs().sum(1).max() <= m.solver.contraction
        one = torch.eye(m.inner, dtype=x.dtype)
        before = h
        h = torch.linalg.solve(one - (one - keep) @ P, keep @ h + (one - keep) @ (one - P) @ v)
        y = silu(z) * silu(m.read(torch.cat([u, before]))) * h
        ys.append(m.output(m.norm.weight * y / (y.square().mean() + 1e-5).sqrt()))
    return torch.stack(ys)


@torch.no_grad()
@pytest.mark.parametrize("reads_state", [False, True])
@pytest.mark.parametrize(("rank", "contraction"), [(1, 0.9), (3, 0.5)])
def test_fixed_point_is_a_dense_recurrence(rank, contraction, reads_state):
    options = {"rank": rank, "contraction": contraction, "reads_state": reads_state}
    mixer = FixedPoint(4, **options).double()
    mixer.mixing.bias += 2 * torch.randn_like(mixer.mixing.bias)
    x = torch.randn(30, 4).double()
    torch.testing.assert_close(mixer(x[None])[0][0], dense(mixer, x), rtol=1e-9, atol=1e-11)
    diagonal = FixedPoint(4, iterations=1, **options).double()
    diagonal.load_state_dict(mixer.state_dict())
    assert not torch.allclose(diagonal(x[None])[0][0], dense(mixer, x), rtol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("forgets", [True, False])
def test_implicit_is_a_nonlinear_recurrence(forgets):
    mixer = Implicit(3, hidden=4, contraction=0.9, forgets=forgets).double()
    mixer.feedback.weight *= 5
    V = mixer.bounded(torch.float64)
    rows = (V if forgets else V[:, :4]).abs().sum(1)
    torch.testing.assert_close(2 * rows[:4] + rows[4:], torch.full((4,), 0.9).double())
    if not forgets:
        assert torch.equal(V[:, 4:], mixer.feedback.weight[:, 4:])
    x = torch.randn(40, 3).double()
    h, hs = torch.zeros(4).double(), []
    for injected in mixer.injection(x):
        new = h
        for _ in range(400):
            a, c = (injected + V @ torch.cat([new, h])).chunk(2)
            new = sigmoid(a) * h + (1 - sigmoid(a)) * torch.tanh(c)
        h = new
        hs.append(h)
    y, _ = mixer(x[None])
    torch.testing.assert_close(y[0], torch.stack(hs), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(stepped(mixer, x[None]), y, rtol=1e-9, atol=1e-11)


@torch.no_grad()
@pytest.mark.parametrize("make", [FixedPoint, Implicit])
def test_errors_shrink_as_promised_over_any_length(make):
    exact = make(4, contraction=0.8).double()
    for weight in exact.parameters():
        weight *= 3
    _, goal = exact(torch.zeros(1, 0, 4).double())
    for time in (1, 300):
        x = torch.randn(1, time, 4).double()
        _, goal = exact(x)
        for iterations in (1, 5, 20):
            some = make(4, contraction=0.8, iterations=iterations).double()
            some.load_state_dict(exact.state_dict())
            _, state = some(x)
            # What is left of h = 0 at the beginning; every |h| is below what the fixed point's is.
            largest = 1 if make is Implicit else 5 * silu(exact.input(x)).abs().max() ** 2
            assert (state.h - goal.h).abs().max() <= 0.8**iterations * largest


def test_the_solver_stops_at_its_tolerance_and_not_for_rows_of_nan():
    calls = []

    def f(z):
        calls.append(0)
        return 0.5 * z + 1, None

    start = torch.tensor([[0.0, 0.0], [torch.nan, 0.0]]).double()
    z, _ = Solver(0.5, tolerance=1e-3)(f, start)
    assert 0 < 2 - z[0, 0] <= 2e-3
    assert len(calls) == 10 == Solver(0.5, tolerance=1e-3).iterations(torch.float64)
    calls.clear()
    slow = Solver(0.99, tolerance=1e-3)
    slow(f, start)
    assert len(calls) == 10 < slow.iterations(torch.float64)
    calls.clear()
    Solver(0.5, tolerance=1e-3, most=3)(f, start)
    assert len(calls) == 3


@pytest.mark.parametrize("make", [FixedPoint, Implicit])
def test_gradients_of_the_last_iterations_approach_the_exact_one(make):
    exact = make(4, contraction=0.6).double()
    with torch.no_grad():
        for weight in exact.parameters():
            weight *= 2
    x = torch.randn(1, 20, 4).double()

    def gradient(recorded):
        mixer = make(4, contraction=0.6, recorded=recorded).double()
        mixer.load_state_dict(exact.state_dict())
        given = x.clone().requires_grad_()
        y, _ = mixer(given)
        torch.testing.assert_close(y, exact(x)[0], rtol=1e-10, atol=1e-11)
        return torch.autograd.grad(y.square().sum(), given)[0]

    whole = gradient(None)
    errors = [((gradient(n) - whole).norm() / whole.norm()).item() for n in (1, 4, 60)]
    assert errors[0] > 2 * errors[1] > 0
    assert errors[2] < 1e-10


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FixedPoint(4, contraction=1.0), "fixed_point: contraction = 1.0"),
        (lambda: FixedPoint(4, rank=0), "fixed_point: rank = 0"),
        (lambda: Implicit(4, contraction=0.0), "implicit: contraction = 0.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@torch.no_grad()
def test_what_reads_the_state_settles_one_time_after_another():
    options = {"contraction": 0.5, "reads_state": True}
    exact = FixedPoint(4, **options).double()
    for weight in exact.parameters():
        weight *= 3
    x = torch.randn(2, 40, 4).double()
    goal, _ = exact(x)
    torch.testing.assert_close(stepped(exact, x), goal, rtol=1e-9, atol=1e-11)
    # One time settles as it would if inputs alone were read; all of them have not yet.
    few = FixedPoint(4, iterations=2, **options).double()
    few.load_state_dict(exact.state_dict())
    apart = (few(x)[0] - goal).abs().amax((0, 2))
    assert apart[0] < apart[2:].max()
