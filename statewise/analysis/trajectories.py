"""The states that a mixer or a model goes through, one input at a time."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from statewise import state as states

Inputs = Float[Tensor, "batch time dim"] | Int[Tensor, "batch time"]
"""What a mixer reads, or the tokens that a model reads."""


@runtime_checkable
class Recurrence(Protocol):
    """A mixer or a model: what is measured here asks no more of it."""

    def initial_state(self, batch: int, /) -> Any:
        """Return the state before any input."""
        ...

    def step(self, x: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """Return what one input is answered, and the state after it."""
        ...

    def state_size(self, time: int, /) -> int:
        """Return how many numbers one row's state holds after `time` inputs."""
        ...

    def __call__(self, x: Tensor, state: Any = None, /) -> tuple[Tensor, Any]:
        """Return what a whole sequence is answered, and the state after it."""
        ...


def states_before(mixer: Recurrence, x: Inputs) -> Iterator[Any]:
    """Yield the state before each input, and at last the one after all of them."""
    state = mixer.initial_state(len(x))
    yield state
    for x_t in x.unbind(1):
        with torch.no_grad():  # here, and not around what the caller does in between
            _, state = mixer.step(x_t, state)
        yield state


def visited(mixer: Recurrence, x: Inputs, *, leaf: str) -> Num[Tensor, "batch time *shape"]:
    """Return a leaf of the state after each input.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, or tokens for a model.
        leaf: of the state, by the name that `statewise.state.leaves` gives it, such as "h".

    Raises:
        ValueError: if there is no such leaf, or it grows with what is read.
    """
    found = [named(state, leaf) for state in states_before(mixer, x)]
    if len({value.shape for value in found}) > 1:
        raise ValueError(f"leaf = {leaf!r} grows with what is read; it has no one shape to compare")
    start, *after = found
    return torch.stack(after, 1) if after else start[:, None][:, :0]


def stepped(mixer: Recurrence, x: Inputs) -> Tensor:
    """Return what a mixer answers to inputs that it is fed one at a time, with its gradients."""
    state, answers = mixer.initial_state(len(x)), []
    for x_t in x.unbind(1):
        y, state = mixer.step(x_t, state)
        answers.append(y)
    return torch.stack(answers, 1)


@torch.no_grad()
def steps_apart(mixer: Recurrence, x: Inputs) -> float:
    """Return how far steps are from `forward`: the largest difference over the largest answer.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, or tokens for a model.
    """
    whole = mixer(x)[0]
    return float((stepped(mixer, x) - whole).abs().max() / whole.abs().max())


def named(state: Any, leaf: str) -> Tensor:
    """Return a leaf of a state.

    Raises:
        ValueError: if there is none of this name; it names those there are.
    """
    known = states.leaves(state)
    if leaf not in known:
        raise ValueError(f"leaf = {leaf!r} should be one of {', '.join(known) or 'none: no state'}")
    return known[leaf]


def tracked(state: Any) -> Any:
    """Return a state of its own whose numbers have gradients; counters have none."""

    def track(leaf: Tensor) -> Tensor:
        return leaf.requires_grad_(leaf.is_floating_point() or leaf.is_complex())

    return tree_map(track, states.detach(state))


def parts(leaf: Tensor) -> Float[Tensor, "batch numbers"]:
    """Return the numbers of a leaf, row by row; a complex one is two, real and imaginary part."""
    return (torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf).flatten(1)


def of_parts(numbers: Float[Tensor, "batch numbers"], like: Tensor) -> Tensor:
    """Return the leaf that has these `parts`, of the shape and kind of another."""
    if like.is_complex():
        return torch.view_as_complex(numbers.reshape(*like.shape, 2).contiguous())
    return numbers.reshape(like.shape).clone()


def replaced(state: Any, leaf: str, numbers: Float[Tensor, "batch numbers"]) -> Any:
    """Return a state with these numbers in the place of one leaf's.

    Raises:
        ValueError: if there is no such leaf.
    """
    like = named(state, leaf)
    leaves, structure = tree_flatten(state)
    leaves[list(states.leaves(state)).index(leaf)] = of_parts(numbers, like)
    return tree_unflatten(leaves, structure)
