"""How far two functions of the same inputs are apart, in their answers and their gradients."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


class Agreement(NamedTuple):
    """What one comparison found.

    Args:
        what: what was compared.
        peer: the package and its version.
        difference: the largest relative difference of a tensor, norm by norm.
        bound: how large it may be.
        defects: what is known to be wrong with the peer, and how it was kept out.
    """

    what: str
    peer: str
    difference: float
    bound: float
    defects: str

    @property
    def holds(self) -> bool:
        """Whether the two agree."""
        return self.difference <= self.bound


def agree(
    what: str,
    package: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    given: Sequence[Tensor],
    *,
    bound: float = 1e-5,
    defects: str = "",
) -> Agreement:
    """Compare what two functions return for the same tensors, and every gradient of those.

    Args:
        what: the name of the comparison.
        package: the peer's, whose version is looked up.
        ours: takes the tensors and returns some, in any nest.
        theirs: returns as many, of the same shapes and in the same order.
        given: the tensors; the gradient of those that are floating or complex is compared.
        bound: how large the difference may be: float32 over some hundred steps, in another order.
        defects: what is known to be wrong with the peer.
    """
    found, expected = _answers(ours, given), _answers(theirs, given)
    if len(found) != len(expected):
        raise ValueError(
            f"{what}: we return {len(found)} tensors and the peer {len(expected)}, with gradients"
        )
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape:
            raise ValueError(f"{what}: ours is {tuple(one.shape)}, the peer's {tuple(other.shape)}")
    differences = [
        ((one - other).norm() / other.norm().clamp_min(1e-30)).item()
        for one, other in zip(found, expected, strict=True)
    ]
    # A NaN is no agreement, and max() would pass it by.
    worst = max(float("inf") if x != x else x for x in differences)
    return Agreement(what, f"{package} {version(package)}", worst, bound, defects)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normal numbers, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _answers(function: Callable[..., Any], given: Sequence[Tensor]) -> list[Tensor]:
    """Return what a function returns, and the gradients of what it was given."""
    copies = [
        x.detach().clone().requires_grad_(x.is_floating_point() or x.is_complex()) for x in given
    ]
    answers = [_real(leaf) for leaf in tree_leaves(function(*copies)) if isinstance(leaf, Tensor)]
    loss = sum(
        (draw(*answer.shape, seed=17 + place) * answer).sum()
        for place, answer in enumerate(answers)
    )
    assert isinstance(loss, Tensor)
    loss.backward()
    gradients = [x.grad for x in copies if x.requires_grad]
    if any(gradient is None for gradient in gradients):
        raise ValueError("an input has no gradient: leave out what the function does not read")
    return [_real(x).detach().double() for x in [*answers, *gradients] if x is not None]


def _real(x: Tensor) -> Tensor:
    """Return complex numbers as pairs."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
