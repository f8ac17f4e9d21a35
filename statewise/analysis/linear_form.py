r"""A run of a mixer as a linear recurrence, whose matrices were chosen by what it read.

    h_t = A_t h_{t-1} + b_t          h: the numbers of one leaf of the state

    form = linear_form(gla, x, leaf="S")
    form.states()                     the leaf after each input, as far as the mixer is linear in it
    replayed(gla, x, leaf="S")        and what it answers from there

A_t is the Jacobian of a step at h = 0 and b_t where that step leads, all other leaves being what
they are in the run. So the form knows one point of each step: it gives the states of the run
exactly where a step is affine in h, and where it is not it gives others. Sieber et al.,
"Understanding the differences in foundation models: attention, state space models, and recurrent
neural networks", 2024, arXiv:2405.15731, section 3.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.analysis.jacobians import jacobian
from statewise.analysis.trajectories import (
    Inputs,
    Recurrence,
    named,
    parts,
    replaced,
    states_before,
)


class LinearForm(NamedTuple):
    """The matrices of a run; a complex number is two real ones, its real and imaginary part."""

    transitions: Float[Tensor, "batch time numbers numbers"]
    """A_t."""
    drives: Float[Tensor, "batch time numbers"]
    """b_t."""
    start: Float[Tensor, "batch numbers"]
    """h before any input."""

    def product(self, times: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the one step that some in a row are, as A and b of  h_after = A h_before + b.

        Args:
            times: from which to which; all if absent.
        """
        steps = zip(
            self.transitions[:, times].unbind(1), self.drives[:, times].unbind(1), strict=True
        )
        numbers = self.start.shape[1]
        A = torch.eye(numbers, dtype=self.start.dtype).expand(len(self.start), -1, -1)
        b = torch.zeros_like(self.start)
        for A_t, b_t in steps:
            A, b = A_t @ A, (A_t @ b[..., None])[..., 0] + b_t
        return A, b

    def states(self) -> Float[Tensor, "batch time numbers"]:
        """Return h after each input, by the recurrence as it is written."""
        h, found = self.start, torch.empty_like(self.drives)
        for time, (A, b) in enumerate(
            zip(self.transitions.unbind(1), self.drives.unbind(1), strict=True)
        ):
            h = found[:, time] = (A @ h[..., None])[..., 0] + b
        return found


@torch.no_grad()
def linear_form(mixer: Recurrence, x: Inputs, *, leaf: str) -> LinearForm:
    """Return the linear recurrence of one leaf in a run from the initial state.

    It holds numbers^2 for each input and row: for small states.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, at least one, or tokens for a model.
        leaf: of the state, by the name that `statewise.state.leaves` gives it, such as "S".

    Raises:
        ValueError: if there is no such leaf of real or complex numbers, or its shape changes.
    """
    transitions, drives = list[Tensor](), list[Tensor]()
    start = parts(named(mixer.initial_state(len(x)), leaf))
    for x_t, state in zip(x.unbind(1), states_before(mixer, x), strict=False):
        empty = replaced(state, leaf, torch.zeros_like(parts(named(state, leaf))))
        transitions.append(jacobian(mixer, x_t, empty, leaf=leaf))
        drives.append(parts(named(mixer.step(x_t, empty)[1], leaf)))
    return LinearForm(torch.stack(transitions, 1), torch.stack(drives, 1), start)


@torch.no_grad()
def replayed(mixer: Recurrence, x: Inputs, *, leaf: str) -> Float[Tensor, "batch time out"]:
    """Return what a mixer answers where the states of a leaf are those of its linear form.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, or tokens for a model.
        leaf: of the state.
    """
    form = linear_form(mixer, x, leaf=leaf)
    before = [form.start, *form.states().unbind(1)]
    answers = [
        mixer.step(x_t, replaced(state, leaf, h))[0]
        for x_t, h, state in zip(x.unbind(1), before, states_before(mixer, x), strict=False)
    ]
    return torch.stack(answers, 1)


@torch.no_grad()
def apart_from_form(mixer: Recurrence, x: Inputs, *, leaf: str) -> float:
    """Return how far `replayed` is from what the mixer answers: ||difference|| / ||answers||.

    Args:
        mixer: any, or a model, in eval mode.
        x: inputs, or tokens for a model.
        leaf: of the state.
    """
    goal = mixer(x)[0]
    return float((replayed(mixer, x, leaf=leaf) - goal).norm() / goal.norm())
