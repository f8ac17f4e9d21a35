"""HiPPO's matrices by what they are for: the state of a known signal gives the signal back."""

import math

import pytest
import torch

from statewise.mixers.parts import hippo


def signal(t):
    return torch.sin(3 * t) + 0.5 * torch.cos(7 * t + 1) - 0.3 * t


def remember(system, step, time):
    """Return the state after f(0), f(step), ..., each held in the middle of its interval."""
    A, B = hippo.zero_order_hold(system, step)
    c = torch.zeros_like(B)
    for value in signal(step * (torch.arange(time).double() + 0.5)):
        c = A @ c + B * value
    return c


def rms(x):
    return x.square().mean().sqrt().item()


@pytest.mark.parametrize(
    ("measure", "n", "ages", "bound"),
    [
        ("legt", 24, (0.01, 1.99), 1e-4),
        ("lagt", 60, (0.0, 8.0), 3e-2),
        ("fourier", 64, (0.3, 1.7), 3e-2),
    ],
)
def test_a_window_of_the_past_is_given_back(measure, n, ages, bound):
    step = {"legt": 1e-3, "fourier": 1e-3, "lagt": 5e-3}[measure]
    time = 12_000
    c = remember(hippo.MEASURES[measure](n), step, time)
    age = torch.linspace(*ages, 200).double()
    found = hippo.basis(measure, n, age) @ c
    expected = signal(step * time - age)
    assert rms(found - expected) < bound * rms(expected)


@pytest.mark.parametrize(
    ("rule", "bound"), [("hold", 1e-5), (0.5, 6e-3), (1.0, 1.2e-2), (0.0, 6e-3)]
)
def test_legs_gives_all_the_past_back(rule, bound):
    n, time = 24, 2000
    A, B = hippo.legs(n)
    values = signal(2 * torch.linspace(0, 1, time).double())
    c = torch.zeros(n).double()
    c[0] = values[0]
    for k in range(1, time):
        if rule == "hold":
            transition, enter = hippo.zero_order_hold(hippo.System(A, B), math.log1p(1 / k))
        else:
            step = torch.tensor(1 / k).double()
            transition, enter = hippo.generalized_bilinear(A, B, step, rule)
            if rule == 0.0 and k < 2 * n:  # Euler's rule would not be stable yet
                transition, enter = hippo.generalized_bilinear(A, B, step, 1.0)
        c = transition @ c + enter * values[k]
    age = torch.linspace(0, 1, time + 1).double()[:-1] + 0.5 / time
    found = hippo.basis("legs", n, age) @ c
    assert rms(found - values.flip(0)) < bound


def test_the_delay_of_the_legendre_memory_unit_decodes():
    n, step = 24, 1e-3
    c = remember(hippo.delay(n), step, 3000)
    age = torch.linspace(0.01, 0.99, 100).double()
    by_legt = hippo.basis("legt", n, 2 * age) / (2 * torch.arange(n) + 1).double().sqrt()
    found = (by_legt * (-1.0) ** torch.arange(n).double()) @ c  # Legendre's P_n(2 age - 1)
    assert rms(found - signal(3.0 - age)) < 1e-4
    # The published matrices (Voelker et al., 2019, equations 1 and 2).
    i, j = torch.arange(n).double()[:, None], torch.arange(n).double()
    published = (2 * i + 1) * torch.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    torch.testing.assert_close(hippo.delay(n).A, published, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(hippo.delay(n).B, ((2 * i + 1) * (-1.0) ** i)[:, 0])


def test_spectra_and_normal_parts():
    n = 16
    found = torch.linalg.eigvals(hippo.legs(n).A).real.sort(descending=True).values
    torch.testing.assert_close(found, -torch.arange(1, n + 1).double(), rtol=1e-6, atol=1e-6)
    # What is left of the others without a matrix of low rank is skew.
    odd = torch.arange(n) % 2 == 1
    root = ((2 * torch.arange(n) + 1) / 2).double().sqrt()
    parts = {
        "legt": [root * odd, root * ~odd],
        "lagt": [torch.full((n,), 0.5).double().sqrt()],
        "fourier": [hippo.fourier(n).B],
    }
    for measure, vectors in parts.items():
        left = hippo.MEASURES[measure](n).A + sum(p[:, None] * p for p in vectors)
        torch.testing.assert_close(left, -left.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 8, 64])
def test_legs_is_its_normal_form(n):
    form = hippo.normal_form(n)
    V = torch.cat([form.V, form.V.conj()], 1)
    P = torch.cat([form.P, form.P.conj()])
    inner = (
        torch.diag(torch.cat([form.eigenvalues, form.eigenvalues.conj()])) - P[:, None] * P.conj()
    )
    A, B = hippo.legs(n)
    scale = A.abs().max().item()
    torch.testing.assert_close((V @ inner @ V.mH).real, A, rtol=0, atol=1e-11 * scale)
    torch.testing.assert_close(2 * (form.V @ form.B).real, B, rtol=0, atol=1e-11 * scale)
    assert (form.eigenvalues.real == -0.5).all()
    assert (form.eigenvalues.imag > 0).all()


def test_diagonals_begin_where_the_paper_says():
    largest = {name: make(64).imag.max().item() for name, make in hippo.DIAGONALS.items()}
    assert largest["legs"] == pytest.approx(1303.3, abs=0.1)
    assert largest["inv"] == pytest.approx(1283.4, abs=0.1)
    assert largest["lin"] == pytest.approx(31 * math.pi)
    assert hippo.diagonal_legs(64).imag.min().item() == pytest.approx(0.264, abs=1e-3)


def test_rules_of_discretization_agree_where_steps_are_short():
    system = hippo.legt(6)
    held, enter = hippo.zero_order_hold(system, 1e-4)
    for alpha in (0.0, 0.5, 1.0):
        step = torch.tensor(1e-4).double()
        A, B = hippo.generalized_bilinear(*system, step, alpha)
        torch.testing.assert_close(A, held, rtol=0, atol=1e-6)
        torch.testing.assert_close(B, enter, rtol=0, atol=1e-6)
    a = hippo.diagonal_lin(6)
    decay, gain = hippo.hold_diagonal(a, torch.tensor(1e-9).double())
    torch.testing.assert_close(decay, torch.exp(1e-9 * a))
    torch.testing.assert_close(gain, torch.full_like(a, 1e-9), rtol=1e-7, atol=0)
