"""The laws of resets, padding and nothing at all."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from statewise import state as states
from statewise.mixers.base import Mixer
from statewise.testing.agreement import agree, require
from statewise.testing.outcome import differentiable, gradients_agree, outcome, same, weigh
from statewise.testing.subject import Subject


def a_reset_is_a_fresh_start(subject: Subject) -> None:
    """From a reset on, a row gives what it gives from its start, gradients included."""
    for time in (time for time in subject.times if time):
        x, state, reset = subject.input(2, time), subject.state(2), subject.reset(2, time)
        reset[0, 0] = reset[1, -1] = True

        def at_once(x: Tensor, state: Any, reset=reset):
            y, state = subject(x, state, reset=reset)
            return y, [state]

        def in_segments(x: Tensor, state: Any, reset=reset, time=time):
            ys, finals = [], []
            for row in range(len(x)):
                cuts = [*(t for t in reset[row].nonzero()[:, 0].tolist() if t), time]
                known = None if reset[row, 0] else states.select(state, [row])
                answers = [subject(x[row, : cuts[0]][None], known)]
                for start, end in pairwise(cuts):
                    answers.append(subject(x[row, start:end][None]))
                ys.append(torch.cat([y for y, _ in answers], 1))
                finals.append(answers[-1][1])
            return torch.cat(ys), finals

        same(subject, x, state, found=at_once, expected=in_segments, what=f"{time} inputs")


def no_gradient_crosses_a_reset(subject: Subject) -> None:
    """What is answered from a reset on has exactly no gradient by anything before, nor reversed."""
    for time in (2, 7, 63):
        at = [0, time // 2, time - 1]
        reset = torch.zeros(3, time, dtype=torch.bool)
        reset[range(3), at] = True
        later = torch.arange(time) >= torch.tensor(at)[:, None]
        x, state = subject.input(3, time).requires_grad_(), differentiable(subject.state(3))
        y, final = subject(x, state, reset=reset)
        # Not the final state itself, which may hold what it will never answer from.
        after, _ = subject(subject.input(3, 3), final)
        known = [leaf for leaf in tree_leaves(state) if leaf.requires_grad]
        by_x, *by_state = torch.autograd.grad(
            weigh((y[later], after)), [x, *known], materialize_grads=True, retain_graph=True
        )
        what = f"of {time} inputs, with a reset at {at}, one row each"
        require(not by_x[~later].any(), f"{what}: an input before the reset has a gradient")
        require(not any(leaf.any() for leaf in by_state), f"{what}: the given state has a gradient")
        (by_x,) = torch.autograd.grad(weigh((y[~later], x[:, :0])), x, materialize_grads=True)
        require(not by_x[later].any(), f"{what}: an input after it has a gradient by those before")


def a_reset_heals_nan(subject: Subject) -> None:
    """After a reset nothing is left of a state or inputs that were NaN, gradients included."""
    x, state = subject.input(3, 9), subject.state(3)
    sick = tree_map(all_nan, state)
    at = [0, 4, 8]
    reset = torch.zeros(3, 9, dtype=torch.bool)
    reset[range(3), at] = True
    before = torch.arange(9) < torch.tensor(at)[:, None]
    poisoned = filled(x, before, torch.nan)
    following = subject.input(3, 3)
    y, final = subject(poisoned, sick, reset=reset)
    healthy, healthy_final = subject(x, state, reset=reset)
    agree(y[~before], healthy[~before], "outputs after the reset")
    after = subject(following, final)[0]
    agree(after, subject(following, healthy_final)[0], "outputs after the final state")

    # At the first input the sick state is never read, so that no gradient may see it either.
    first = torch.zeros_like(reset)
    first[:, 0] = True

    def from_start(x: Tensor, state: Any):
        y, state = subject(x, state, reset=first)
        return y, [state]

    ours = outcome(subject, from_start, x, sick, following)
    theirs = outcome(subject, from_start, x, state, following)
    gradients_agree(ours, theirs, "reset at the first input")


def padding_changes_nothing(subject: Subject) -> None:
    """A padded row gives what it gives alone; beyond it are zeros, and NaN or resets are unread."""
    for time in subject.times:
        x, state = subject.input(4, time), subject.state(4)
        lengths, reset = subject.lengths(4, time), subject.reset(4, time)
        beyond = torch.arange(time) >= lengths[:, None]
        spoiled = filled(
            filled(x, beyond, torch.nan), beyond & (torch.arange(time) % 2 == 0), torch.inf
        )
        what = f"{time} inputs, lengths {lengths.tolist()}"
        for resets in (None, reset):

            def padded(x: Tensor, state: Any, resets=resets, lengths=lengths, beyond=beyond):
                y, state = subject(
                    x, state, reset=None if resets is None else resets | beyond, lengths=lengths
                )
                return y, [state]

            def alone(x: Tensor, state: Any, resets=resets, lengths=lengths, time=time):
                ys, finals = [], []
                for row, length in enumerate(lengths.tolist()):
                    y, final = subject(
                        x[row : row + 1, :length],
                        states.select(state, [row]),
                        reset=None if resets is None else resets[row : row + 1, :length],
                    )
                    ys.append(torch.cat([y, y.new_zeros(1, time - length, *y.shape[2:])], 1))
                    finals.append(final)
                return torch.cat(ys), finals

            ours = same(subject, x, state, spoiled=spoiled, found=padded, expected=alone, what=what)
            require(not ours.outputs[beyond].any(), f"{what}: outputs beyond are not zero")


def nothing_is_legal(subject: Subject) -> None:
    """Time 0, time 1, batch 0 and length 0 are legal; where nothing is read, the state stays."""
    for batch, time in ((2, 0), (2, 1), (0, 3), (0, 0), (1, 1)):
        x, state = subject.input(batch, time), subject.state(batch)
        for lengths in (None, torch.zeros(batch, dtype=torch.int64)):
            for reset in (None, torch.ones(batch, time, dtype=torch.bool)):
                given = x.clone().requires_grad_()
                y, final = subject(given, state, reset=reset, lengths=lengths)
                what = f"batch {batch}, time {time}" + (
                    ", lengths 0" if lengths is not None else ""
                )
                shape = tuple(y.shape)
                require(shape[:2] == (batch, time), f"{what}: outputs are {shape}")
                require(
                    y.ndim != 3 or shape[2] == subject.mixer.out, f"{what}: outputs are {shape}"
                )
                require(y.dtype == x.dtype, f"{what}: outputs are {y.dtype}")
                torch.autograd.grad(weigh((y, given[:, :0])), given, materialize_grads=True)
                if lengths is None and time:
                    continue
                kept = states.leaves(final)
                for name, leaf in states.leaves(state).items():
                    # A state that grows may have made room.
                    if kept[name].shape == leaf.shape:
                        require(torch.equal(kept[name], leaf), f"{what}: leaf {name} changed")
    if isinstance(subject.mixer, Mixer):
        empty = subject.input(0, 1)[:, 0]
        y, _ = subject.mixer.step(empty, subject.mixer.initial_state(0))
        require(len(y) == 0, f"batch 0: a step's outputs are {tuple(y.shape)}")


def filled(x: Tensor, where: Tensor, value: float) -> Tensor:
    """Return x with a value at some rows and times, whatever axes follow."""
    x = x.clone()
    x[where] = value
    return x


def all_nan(leaf: Tensor) -> Tensor:
    """Return a leaf full of NaN, or as it is if it counts."""
    if leaf.is_floating_point() or leaf.is_complex():
        return torch.full_like(leaf, torch.nan)
    return leaf
