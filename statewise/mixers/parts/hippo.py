r"""HiPPO: memories that hold the history of a signal as coefficients of polynomials or waves.

Gu et al., "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020, arXiv:2008.07669;
Gu et al., "How to Train Your HiPPO", 2022, arXiv:2206.12037, for Fourier's; Gu, Goel and Re,
"Efficiently Modeling Long Sequences with Structured State Spaces", 2021, arXiv:2111.00396,
theorem 1, for the normal form. No mixer itself.

    c'(t) = A c(t) + B f(t)                        the state of LegT, LagT and Fourier
    c'(t) = (A c(t) + B f(t)) / t                  that of LegS
    f(place) = sum_n basis_n(place) c_n(t)         what it remembers, nearly

LegS remembers all the past, 0 to t; LegT and Fourier the last two units of time, LagT all, the
less the longer ago. Everything here is in float64 and made once.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor


class System(NamedTuple):
    """A linear system: its transition and how the input enters."""

    A: Float[Tensor, "n n"]
    B: Float[Tensor, " n"]


def legs(n: int) -> System:
    """Return the scaled Legendre memory. With its A / t, the whole past counts the same."""
    root = _root(n)
    return System(-(root[:, None] * root).tril(-1) - torch.diag(_count(n) + 1), root)


def legt(n: int) -> System:
    """Return the translated Legendre memory, of a window of two units of time."""
    root, index = _root(n), _count(n)
    ahead = (-1.0) ** (index[:, None] - index)
    sign = torch.where(index[:, None] >= index, 1.0, ahead)
    return System(-root[:, None] * root * sign / 2, root / 2)


def lagt(n: int) -> System:
    """Return the translated Laguerre memory: the past fades as exp(-age / 2) in state and basis."""
    ones = torch.ones(n, n, dtype=torch.float64)
    return System(torch.eye(n, dtype=torch.float64) / 2 - ones.tril(), ones[0].clone())


def fourier(n: int) -> System:
    """Return the Fourier memory, of a window of two units of time; n is even.

    Numbers 2 k and 2 k + 1 count cos(2 pi k r) and sin(2 pi k r); number 1 stays zero.
    """
    A, B = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    B[::2], B[0] = math.sqrt(2), 1
    cosine = torch.arange(0, n, 2)
    A[cosine + 1, cosine] = math.pi * _count(n // 2)
    A[cosine, cosine + 1] = -math.pi * _count(n // 2)
    return System(A - B[:, None] * B, B)


def delay(n: int) -> System:
    """Return LegT for a window of one unit, in the scale of the Legendre memory unit.

    c_n is then the coefficient of the n-th Legendre polynomial itself, the present at -1 (Voelker,
    Kajic and Eliasmith, 2019, equations 1 and 2).
    """
    A, B = legt(n)
    scale = (-1.0) ** _count(n) * _root(n)
    return System(2 * scale[:, None] * A / scale, 2 * scale * B)


MEASURES: Mapping[str, Callable[[int], System]] = {
    "legs": legs,
    "legt": legt,
    "lagt": lagt,
    "fourier": fourier,
}


def basis(measure: str, n: int, age: Float[Tensor, "*places"]) -> Float[Tensor, "*places n"]:
    """Return what multiplies the state to give the signal as it was.

    Args:
        measure: a name of `MEASURES`.
        n: size of the state.
        age: how long ago; for LegS as a part of all the past, 0 to 1; for LegT and Fourier in their
            units of time, 0 to 2; for LagT in its own.
    """
    age = age.double()
    if measure == "legs":
        return _root(n) * _legendre(n, 1 - 2 * age)
    if measure == "legt":
        return _root(n) * _legendre(n, 1 - age)
    if measure == "lagt":
        return _laguerre(n, age) * torch.exp(-age / 2)[..., None]
    angle = math.pi * age[..., None] * torch.arange(n // 2)
    waves = torch.stack([angle.cos(), angle.sin()], -1) * math.sqrt(2)
    waves[..., 0, 0] = 1
    return waves.flatten(-2)


def _legendre(n: int, x: Tensor) -> Tensor:
    before, now = torch.zeros_like(x), torch.ones_like(x)
    values = []
    for k in range(n):
        values.append(now)
        before, now = now, ((2 * k + 1) * x * now - k * before) / (k + 1)
    return torch.stack(values, -1)


def _laguerre(n: int, x: Tensor) -> Tensor:
    before, now = torch.zeros_like(x), torch.ones_like(x)
    values = []
    for k in range(n):
        values.append(now)
        before, now = now, ((2 * k + 1 - x) * now - k * before) / (k + 1)
    return torch.stack(values, -1)


class NormalForm(NamedTuple):
    """A  =  V (diag(eigenvalues) - P P^*) V^*,  one of each pair of conjugates.

    A real c is  2 Re(V h)  for the half h of the numbers kept.
    """

    eigenvalues: Complex[Tensor, " half"]
    P: Complex[Tensor, " half"]
    B: Complex[Tensor, " half"]
    V: Complex[Tensor, "n half"]


def normal_form(n: int) -> NormalForm:
    """Return LegS as a normal matrix, with real parts -1/2, less one of rank one; n is even.

    Eigenvalues ascend, with positive imaginary parts; V is turned so that B is positive.
    """
    A, B = legs(n)
    P = (_count(n) + 0.5).sqrt()
    # Of the skew part alone, times -i, which is Hermitian.
    skew = A + P[:, None] * P + torch.eye(n, dtype=torch.float64) / 2
    frequencies, V = torch.linalg.eigh(-1j * skew)
    V = V[:, n // 2 :]
    B = V.mH @ B.to(V.dtype)
    V = V * (B / B.abs())
    real = torch.full((n // 2,), -0.5, dtype=torch.float64)
    eigenvalues = torch.complex(real, frequencies[n // 2 :])
    return NormalForm(eigenvalues, V.mH @ P.to(V.dtype), B.abs().to(V.dtype), V)


def diagonal_legs(n: int) -> Complex[Tensor, " half"]:
    """Return the eigenvalues of LegS's normal part, S4D-LegS; n counts conjugates."""
    return normal_form(n).eigenvalues


def diagonal_lin(n: int) -> Complex[Tensor, " half"]:
    """Return -1/2 + i pi k, S4D-Lin; n counts conjugates."""
    k = _count(n // 2)
    return torch.complex(torch.full_like(k, -0.5), math.pi * k)


def diagonal_inv(n: int) -> Complex[Tensor, " half"]:
    """Return -1/2 + i (n / pi) (n / (2 k + 1) - 1), S4D-Inv; n counts conjugates."""
    k = _count(n // 2)
    return torch.complex(torch.full_like(k, -0.5), n / math.pi * (n / (2 * k + 1) - 1))


DIAGONALS: Mapping[str, Callable[[int], Complex[Tensor, " half"]]] = {
    "legs": diagonal_legs,
    "lin": diagonal_lin,
    "inv": diagonal_inv,
}
"""How the diagonals of S4D begin (Gu, Goel, Gupta and Re, 2022, arXiv:2206.11893, section 4)."""


def zero_order_hold(system: System, step: float) -> System:
    """Return the system in steps of time, with inputs that stay until the next."""
    A, B = system
    joint = torch.zeros(len(B) + 1, len(B) + 1, dtype=A.dtype)
    joint[:-1] = torch.cat([A, B[:, None]], 1) * step
    joint = torch.linalg.matrix_exp(joint)
    return System(joint[:-1, :-1].clone(), joint[:-1, -1].clone())


def generalized_bilinear(
    A: Float[Tensor, "n n"],
    B: Float[Tensor, " n"],
    step: Float[Tensor, "*axes"],
    alpha: float = 0.5,
) -> tuple[Float[Tensor, "*axes n n"], Float[Tensor, "*axes n"]]:
    """Return transition and input of a system in steps of time, by the slope at both ends.

    alpha is the weight of the end: 0 is Euler's rule, 1 the backward one, 1/2 the bilinear.
    """
    step = step[..., None, None]
    eye = torch.eye(len(B), dtype=A.dtype, device=A.device)
    right = torch.cat([eye + (1 - alpha) * step * A, step * B[:, None]], -1)
    both = torch.linalg.solve(eye - alpha * step * A, right)
    return both[..., :-1], both[..., -1]


def hold_diagonal(
    a: Inexact[Tensor, "*axes"], step: Inexact[Tensor, "*steps"]
) -> tuple[Inexact[Tensor, "*both"], Inexact[Tensor, "*both"]]:
    """Return the decay exp(step a) and what the input is multiplied by, zero-order hold.

    By expm1: in float32 exp(1e-7) - 1 is wrong by a fifth.
    """
    return torch.exp(step * a), torch.expm1(step * a) / a


def _root(n: int) -> Tensor:
    return (2 * _count(n) + 1).sqrt()


def _count(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)
