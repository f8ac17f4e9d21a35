"""What a form answers, with its state and its gradients, and when two forms are the same."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from statewise import state as states
from statewise.testing.agreement import agree, fail
from statewise.testing.subject import Subject

Form = Callable[[Tensor, Any], tuple[Tensor, Sequence[Any]]]
"""From inputs and a state to outputs and the final states, of the whole batch or of its parts."""


class Outcome(NamedTuple):
    """Everything that two forms can be compared by."""

    outputs: Tensor
    finals: list[Any]
    """The final state, row by row."""

    after: Tensor
    """What is answered next from the final state."""

    gradients: dict[str, Tensor]
    """Of the outputs and of what is answered next: by input, given state and parameters."""


def same(
    subject: Subject,
    x: Tensor,
    state: Any,
    *,
    found: Form,
    expected: Form,
    what: str,
    spoiled: Tensor | None = None,
) -> Outcome:
    """Require two forms to agree; return the outcome of the first.

    States are compared leaf by leaf where their shapes are equal (one that grows may be stored in
    several ways) and always by what is answered next. The form that is tried reads `spoiled` where
    that is given, and x otherwise.
    """
    following = subject.input(len(x), 3)
    ours = outcome(subject, found, x if spoiled is None else spoiled, state, following)
    theirs = outcome(subject, expected, x, state, following)
    agree(ours.outputs, theirs.outputs, f"{what}: outputs")
    for row, (a, b) in enumerate(zip(ours.finals, theirs.finals, strict=True)):
        states_agree(a, b, f"{what}: final state of row {row}")
    agree(ours.after, theirs.after, f"{what}: outputs after the final state")
    gradients_agree(ours, theirs, what)
    return ours


def gradients_agree(found: Outcome, expected: Outcome, what: str) -> None:
    """Require gradients to agree, each beside the norm of all of them.

    One alone may be a sum that almost cancels, as that by a single bias does.
    """
    norms = [part.abs().double().norm() for part in expected.gradients.values()]
    scale = torch.stack(norms).norm().item()
    agree(found.gradients, expected.gradients, f"{what}: gradient by", scale=scale)


def states_agree(found: Any, expected: Any, what: str) -> None:
    """Require two states to agree in the leaves whose shapes are equal."""
    ours, theirs = states.leaves(found), states.leaves(expected)
    if ours.keys() != theirs.keys():
        fail(f"{what}: its leaves are {list(ours)} and should be {list(theirs)}")
    for name, leaf in ours.items():
        if leaf.shape == theirs[name].shape:
            agree(leaf, theirs[name], f"{what}, leaf {name}")


def outcome(subject: Subject, form: Form, x: Tensor, state: Any, following: Tensor) -> Outcome:
    """Run a form and what comes after it, forward and backward."""
    x, state = differentiable(x), differentiable(state)
    given = {"input": x}
    given |= {f"state {n}": leaf for n, leaf in states.leaves(state).items() if leaf.requires_grad}
    given |= dict(subject.mixer.named_parameters())
    outputs, finals = form(x, state)
    after, start = [], 0
    for final in finals:
        rows = next((len(leaf) for leaf in tree_leaves(final)), len(following) - start)
        after.append(subject(following[start : start + rows], final)[0])
        start += rows
    afterwards = torch.cat(after)
    # Added in, so that there is a graph even where nothing was read.
    loss = weigh((outputs, afterwards, x[:, :0]))
    parts = torch.autograd.grad(loss, list(given.values()), materialize_grads=True)
    return Outcome(
        outputs.detach(),
        [states.select(final, [row]) for final in finals for row in range(batch_of(final))],
        afterwards.detach(),
        dict(zip(given, parts, strict=True)),
    )


def differentiable(tree: Any) -> Any:
    """Return fresh copies that need a gradient, where they can have one."""
    return tree_map(
        lambda leaf: leaf.requires_grad_(leaf.is_floating_point() or leaf.is_complex()),
        states.detach(tree),
    )


def batch_of(state: Any) -> int:
    """Return how many rows a state has; an empty one is the same for every row and has none."""
    return next((len(leaf) for leaf in tree_leaves(state)), 0)


def weigh(tree: Any) -> Tensor:
    """Return a sum to differentiate, in which every number has a weight of its own."""
    total = torch.zeros(())
    for leaf in tree_leaves(tree):
        if leaf.is_complex():
            leaf = torch.view_as_real(leaf)
        if leaf.is_floating_point():
            number = torch.arange(leaf.numel(), dtype=leaf.dtype).reshape(leaf.shape)
            total = total + (leaf * (1 + number.cos() / 2)).sum()
    return total
