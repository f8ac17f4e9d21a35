"""The laws of transforms: gradients, forward mode, vmap, twice over, and the compiler."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call, jvp, vmap
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from statewise.mixers.base import Mixer
from statewise.testing.agreement import agree, distance, require
from statewise.testing.outcome import same, weigh
from statewise.testing.subject import Subject

_STEP = 1e-5
"""Of central differences of the fourth order; always taken in float64.

They are then right to about 1e-9. Those of the second order were off by 4e-6 behind a norm of what
is nearly zero, whose third derivative is large.
"""

_LIMITS = {torch.float64: 1e-6, torch.float32: 1e-4}


class Smooth(NamedTuple):
    """A mixer as a function of tensors that can vary, at a point and along a direction."""

    function: Callable[..., tuple[Tensor, ...]]
    names: list[str]
    at: list[Tensor]
    along: list[Tensor]

    def beside(self, distance: float) -> list[Tensor]:
        """Return the point moved along the direction."""
        return [a + distance * d for a, d in zip(self.at, self.along, strict=True)]


def smooth(subject: Subject, x: Tensor, state: Any, masks: dict[str, Tensor]) -> Smooth:
    """Return the mixer as a function of inputs, state and parameters."""
    leaves, structure = tree_flatten(state)
    varying = [leaf.is_floating_point() or leaf.is_complex() for leaf in leaves]
    parameters = dict(subject.mixer.named_parameters())
    given = [leaf for leaf, varies in zip(leaves, varying, strict=True) if varies]
    names = ["input", *("state" for _ in given), *parameters]

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        x, rest = values[0], iter(values[1:])
        state = tree_unflatten(
            [next(rest) if varies else leaf for leaf, varies in zip(leaves, varying, strict=True)],
            structure,
        )
        weights = dict(zip(parameters, rest, strict=True))
        arguments = (x, state) if isinstance(subject.mixer, Mixer) else (x,)
        found = tree_leaves(functional_call(subject.mixer, weights, arguments, masks))
        return tuple(leaf for leaf in found if leaf.is_floating_point() or leaf.is_complex())

    at = [leaf.detach().clone() for leaf in (x, *given, *parameters.values())]
    return Smooth(function, names, at, [subject.tangent(leaf) for leaf in at])


def both(subject: Subject, masked: bool) -> tuple[Smooth, Smooth]:
    """Return the mixer as a function, and the same in float64."""
    x, state = subject.input(2, 7), subject.state(2)
    masks = {}
    if masked:
        masks = {"reset": subject.reset(2, 7), "lengths": torch.tensor([7, 4])}
    ours = smooth(subject, x, state, masks)
    exact = smooth(subject.converted(torch.float64), x, state, masks)
    return ours, exact._replace(at=_double(ours.at), along=_double(ours.along))


def gradients_are_right(subject: Subject) -> None:
    """The gradient by inputs, state and parameters is the one that differences find."""
    for masked in (False, True):
        ours, exact = both(subject, masked)
        found = gradient(ours.function, ours.at)
        for number, name in enumerate(ours.names):

            def loss(step: float, number: int = number, exact: Smooth = exact) -> list[Tensor]:
                point = [*exact.at]
                point[number] = exact.beside(step)[number]
                with torch.no_grad():
                    return [_loss(exact.function(*point))]

            ours_along = _dot(found[number], ours.along[number]).item()
            largest = (found[number].norm() * ours.along[number].norm()).item()
            limit = _LIMITS[subject.dtype] * max(largest, 1e-3)
            slope = _slope(loss)[0].item()
            if abs(ours_along - slope) > limit:
                # A kink of relu was between the steps: at one seed of IndRNN, 1 percent off.
                slope = _slope(loss, _STEP / 32)[0].item()
            require(
                abs(ours_along - slope) <= limit,
                f"along a direction of {name} the gradient is {ours_along:.6g}, and differences "
                f"give {slope:.6g}" + _masks(masked),
            )


def forward_mode_is_right(subject: Subject) -> None:
    """Forward-mode derivatives (jvp) are those that differences find."""
    for masked in (False, True):
        ours, exact = both(subject, masked)
        with warnings.catch_warnings():
            # torch 2.13 itself still uses torch.jit.script the first time.
            warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
            found = jvp(ours.function, tuple(ours.at), tuple(ours.along))[1]
        with torch.no_grad():
            expected = _slope(lambda step, exact=exact: exact.function(*exact.beside(step)))
        _differences_agree(subject, found, expected, "the tangent" + _masks(masked))


def double_backward_is_right(subject: Subject) -> None:
    """The gradient of a gradient is the one that differences of gradients find."""
    for masked in (False, True):
        ours, exact = both(subject, masked)
        at = [point.requires_grad_() for point in ours.at]
        first = gradient(ours.function, at, create_graph=True)
        dots = (_dot(g, d) for g, d in zip(first, ours.along, strict=True))
        dot = sum(dots, torch.zeros(()))
        found = torch.autograd.grad(dot, at, materialize_grads=True)
        expected = _slope(lambda step, exact=exact: gradient(exact.function, exact.beside(step)))
        what = "the gradient's gradient" + _masks(masked)
        _differences_agree(subject, found, expected, what)


def vmap_is_a_loop(subject: Subject) -> None:
    """`torch.func.vmap` over one more axis in front gives what a loop over that axis gives."""
    for masked in (False, True):
        ours, _ = both(subject, masked)
        several = [torch.stack(both) for both in zip(ours.at, ours.beside(0.1), strict=True)]
        with torch.no_grad():
            found = vmap(ours.function)(*several)
            looped = [ours.function(*(leaf[n] for leaf in several)) for n in range(2)]
        expected = tuple(torch.stack(leaves) for leaves in zip(*looped, strict=True))
        agree(found, expected, "outputs and state" + _masks(masked))


def compiles_whole(subject: Subject) -> None:
    """`torch.compile` takes it in one graph, and the graph agrees, gradients included."""
    compiled = torch.compile(subject.mixer, backend="aot_eager", fullgraph=True)
    whole = not isinstance(subject.mixer, Mixer)
    for masked in (False, True):
        x, state = subject.input(2, 7), subject.state(2)
        masks = {}
        if masked:
            masks = {"reset": subject.reset(2, 7), "lengths": torch.tensor([7, 4])}

        def eager(x: Tensor, state: Any, masks: Any = masks):
            y, state = subject(x, state, **masks)
            return y, [state]

        def in_a_graph(x: Tensor, state: Any, masks: Any = masks):
            y, state = (compiled(x, **masks), ()) if whole else compiled(x, state, **masks)
            return y, [state]

        torch._dynamo.reset()
        what = "time 7" + _masks(masked)
        same(subject, x, state, found=in_a_graph, expected=eager, what=what)


def gradient(
    function: Callable[..., tuple[Tensor, ...]], at: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradient of a sum of the function's sines, by each of its arguments."""
    at = list(at) if create_graph else [point.detach().requires_grad_() for point in at]
    loss = _loss(function(*at))
    return torch.autograd.grad(loss, at, create_graph=create_graph, materialize_grads=True)


def _dot(gradient: Tensor, direction: Tensor) -> Tensor:
    """Return the slope along a direction; complex numbers count as pairs, as torch has them."""
    return (gradient * direction.conj()).sum().real


def _loss(outputs: Sequence[Tensor]) -> Tensor:
    # Sines, so that even what is linear has a second derivative.
    return weigh([leaf.sin() for leaf in outputs])


def _slope(function: Callable[[float], Sequence[Tensor]], step: float = _STEP) -> list[Tensor]:
    """Return the derivatives at zero that differences give."""
    ahead, behind, far_ahead, far_behind = map(function, (step, -step, 2 * step, -2 * step))
    return [
        (8 * (a - b) - (c - d)) / (12 * step)
        for a, b, c, d in zip(ahead, behind, far_ahead, far_behind, strict=True)
    ]


def _differences_agree(
    subject: Subject, found: Sequence[Tensor], expected: Sequence[Tensor], what: str
) -> None:
    """Compare all tensors as one: where one should be zero, differences give only rounding."""
    error = distance(_joined(found), _joined(expected))
    require(error <= _LIMITS[subject.dtype], f"{what} is off by {error:.2g} of its norm")


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    real = [torch.view_as_real(t) if t.is_complex() else t for t in tensors]
    return torch.cat([leaf.double().flatten() for leaf in real])


def _double(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [leaf.to(torch.promote_types(leaf.dtype, torch.float64)) for leaf in tensors]


def _masks(masked: bool) -> str:
    return ", with resets and lengths" if masked else ""
