"""What a step does to a small change of the state: its Jacobian, and the eigenvalues of that.

    values = spectra(gru, x, at=[0, 50, 99], leaf="h")
    spectral_radius(values)                above 1: some change of the state grows in this step

The eigenvalues of one step say what it does at one point. What many steps do together is their
product, whose size `gradient_by_lag` measures: the two may differ widely where Jacobians do not
commute. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks",
2013, arXiv:1211.5063, section 2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact, Int
from torch import Tensor

from statewise import state as states
from statewise.analysis import pictures
from statewise.analysis.trajectories import Inputs, Recurrence, named, parts, states_before, tracked

PROBES = 16
"""Random signs that tell whether a Jacobian is diagonal: one that is not passes for it with a
chance of at most 2 ** -15, less so with every further row."""

ROWS = 2**14
"""Steps that are taken side by side for whole Jacobians: it bounds the memory they need."""


def jacobian(
    mixer: Recurrence,
    x: Float[Tensor, "batch dim"] | Int[Tensor, " batch"],
    state: Any,
    *,
    leaf: str | None = None,
) -> Float[Tensor, "batch numbers numbers"]:
    """Return  d state_t / d state_{t-1}  of one step: entry i, j is how number i follows number j.

    Of one leaf it is the derivative with all other leaves held fixed. A complex number is two real
    ones, its real and its imaginary part; counters have no derivative and are left out.

    Row k of a batch asks for number k of the state after the step, so that one backward pass gives
    the whole matrix.

    Args:
        mixer: any, or a model, in eval mode.
        x: the input of the step, for each row.
        state: before it.
        leaf: of the state, by name; all leaves, one after another, if absent.

    Raises:
        ValueError: if there is no such leaf of real or complex numbers, or its shape changes.
    """
    chosen = _differentiable(state, leaf)
    numbers = sum(parts(named(state, name)).shape[1] for name in chosen)
    before = tracked(states.fork(state, numbers))
    with torch.enable_grad():
        _, after = mixer.step(x.repeat_interleave(numbers, 0), before)
        found = torch.cat([parts(named(after, name)) for name in chosen], 1)
        if found.shape[1] != numbers:
            raise ValueError(
                f"{', '.join(chosen)}: {numbers} numbers before a step and {found.shape[1]} after "
                "it; a state that grows has no square Jacobian"
            )
        asked = found.unflatten(0, (-1, numbers)).diagonal(dim1=1, dim2=2).sum()
        given = [named(before, name) for name in chosen]
        gradients = _gradients(asked, given)
    return torch.cat([parts(g) for g in gradients], 1).unflatten(0, (-1, numbers))


def spectra(
    mixer: Recurrence, x: Inputs, *, at: Sequence[int], leaf: str | None = None
) -> Complex[Tensor, "points batch numbers"]:
    """Return the eigenvalues of `jacobian` at points of a run from the initial state.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, or tokens for a model.
        at: the times, from 0, of the inputs whose steps are looked at.
        leaf: of the state, by name; all leaves together if absent.

    Raises:
        ValueError: for a time that x does not have, and what `jacobian` refuses.
    """
    if not at or not all(0 <= t < x.shape[1] for t in at):
        raise ValueError(f"at = {list(at)} should be times in [0, {x.shape[1]}), at least one")
    found = {
        t: torch.linalg.eigvals(jacobian(mixer, x[:, t], state, leaf=leaf))
        for t, state in enumerate(states_before(mixer, x[:, : max(at)]))
        if t in at
    }
    return torch.stack([found[t] for t in at])


def spectral_radius(eigenvalues: Complex[Tensor, "*axes numbers"]) -> Float[Tensor, "*axes"]:
    """Return the modulus of the largest eigenvalue."""
    return eigenvalues.abs().amax(-1)


def diagonal(
    mixer: Recurrence,
    x: Float[Tensor, "batch dim"] | Int[Tensor, " batch"],
    state: Any,
    *,
    leaf: str,
) -> Inexact[Tensor, "batch *shape"]:
    """Return the diagonal of `jacobian` for one leaf, without the rest where the rest is zero.

    Where the matrix is diagonal,  v * (J^T v)  is its diagonal for all signs v alike, which takes
    one backward pass; several random v that disagree say that it is not, and all of it is computed.
    Of a complex leaf it is complex: the derivative of a number by itself, without its conjugate.

    Args:
        mixer: any, or a model, in eval mode.
        x: the input of the step, for each row.
        state: before it.
        leaf: of the state, by name.

    Raises:
        ValueError: what `jacobian` refuses.
    """
    _differentiable(state, leaf)
    before = tracked(state)
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        _, after = mixer.step(x, before)
        given, asked = named(before, leaf), named(after, leaf)
        if given.shape != asked.shape:
            raise ValueError(f"leaf = {leaf!r} grows with what is read: it has no square Jacobian")
        signs = 1 - 2 * torch.randint(2, (PROBES, *given.shape), generator=generator)
        tries = torch.stack([v * _against(asked, given, v) for v in signs.to(given.device)])
    spread = (tries - tries[0]).abs().max() if tries.numel() else 0.0
    largest = tries.abs().max() if tries.numel() else 0.0
    if spread <= 64 * torch.finfo(tries.dtype).eps * largest:
        return tries[0]
    numbers = parts(given).shape[1]
    rows = max(1, ROWS // numbers)
    whole = [
        jacobian(mixer, x[i : i + rows], states.select(state, slice(i, i + rows)), leaf=leaf)
        for i in range(0, len(x), rows)
    ]
    found = torch.cat([J.diagonal(dim1=1, dim2=2) for J in whole])
    if given.is_complex():
        one = torch.cat([J.diagonal(-1, 1, 2) for J in whole])[:, ::2]
        other = torch.cat([J.diagonal(1, 1, 2) for J in whole])[:, ::2]
        found = torch.complex(found[:, ::2] + found[:, 1::2], one - other) / 2
    return found.reshape(given.shape)


def _against(asked: Tensor, given: Tensor, signs: Tensor) -> Tensor:
    """Return J^T signs; of complex numbers, for the derivative that leaves conjugates aside."""
    if not given.is_complex():
        return _gradients((signs * asked).sum(), [given])[0]
    real = _gradients((signs * asked.real).sum(), [given])[0]
    imaginary = _gradients((signs * asked.imag).sum(), [given])[0]
    return (real.conj() + 1j * imaginary.conj()) / 2


def _differentiable(state: Any, leaf: str | None) -> list[str]:
    real = [n for n, v in states.leaves(state).items() if v.is_floating_point() or v.is_complex()]
    if not real or (leaf is not None and leaf not in real):
        raise ValueError(f"leaf = {leaf!r} should be one of {', '.join(real) or 'none: no state'}")
    return real if leaf is None else [leaf]


def _gradients(asked: Tensor, given: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return those of a sum; zeros where it does not depend on what is given."""
    if not asked.requires_grad:
        return [torch.zeros_like(value) for value in given]
    return torch.autograd.grad(asked, given, retain_graph=True, materialize_grads=True)


def plot_spectra(named: Mapping[str, Complex[Tensor, "*axes numbers"]]) -> bytes:
    """Return a PNG of eigenvalues in the complex plane, with the unit circle.

    Raises:
        ImportError: if matplotlib is missing.
    """

    def draw(axes: Any) -> None:
        from matplotlib.patches import Circle

        axes.add_patch(Circle((0, 0), 1, fill=False, color=pictures.QUIET, linewidth=1, zorder=2))
        for number, (name, values) in enumerate(named.items()):
            points = values.detach().flatten().cpu()
            axes.plot(
                points.real,
                points.imag,
                pictures.MARKERS[number % len(pictures.MARKERS)],
                color=pictures.colour(number),
                markersize=4,
                markeredgewidth=0,
                alpha=0.6,
                label=f"{pictures.printable(name)}: radius {spectral_radius(points):.3g}",
                zorder=3,
            )
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("real part of the eigenvalues of a step", fontsize=10)
        axes.set_ylabel("imaginary part", fontsize=10)
        pictures.name_beside(axes)

    return pictures.picture(draw, height=4.0)
