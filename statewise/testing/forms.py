"""The laws of the forms: one step at a time, in pieces, at once; rows apart; the past alone."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise import state as states
from statewise.mixers.base import Cell, Mixer, where_rows
from statewise.ops.programs import Unreadable
from statewise.testing.agreement import agree, fail, require
from statewise.testing.masks import all_nan, filled
from statewise.testing.outcome import same, weigh
from statewise.testing.subject import Subject


def steps_equal_forward(subject: Subject) -> None:
    """Inputs fed one at a time give what the whole sequence gives, gradients included."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)

    def at_once(x: Tensor, state: Any):
        y, state = mixer(x, state)
        return y, [state]

    def one_by_one(x: Tensor, state: Any):
        ys = []
        for x_t in x.unbind(1):
            y, state = mixer.step(x_t, state)
            ys.append(y)
        return torch.stack(ys, 1) if ys else mixer(x, state)[0], [state]

    for time in subject.times:
        x, state = subject.input(2, time), subject.state(2)
        same(subject, x, state, found=one_by_one, expected=at_once, what=f"{time} steps")


def splits_anywhere(subject: Subject) -> None:
    """Cut anywhere, the state carried over the cuts, a sequence gives what it gives uncut."""

    def check(time: int, cuts: list[int], masked: bool) -> None:
        x, state = subject.input(3, time), subject.state(3)
        reset = subject.reset(3, time) if masked else None
        lengths = subject.lengths(3, time) if masked else None

        def uncut(x: Tensor, state: Any):
            y, state = subject(x, state, reset=reset, lengths=lengths)
            return y, [state]

        def cut(x: Tensor, state: Any):
            ys = []
            for start, end in zip([0, *cuts], [*cuts, time], strict=True):
                y, state = subject(
                    x[:, start:end],
                    state,
                    reset=None if reset is None else reset[:, start:end],
                    lengths=None if lengths is None else (lengths - start).clamp(0, end - start),
                )
                ys.append(y)
            return torch.cat(ys, 1), [state]

        what = f"{time} inputs cut at {cuts}" + (", with resets and lengths" if masked else "")
        same(subject, x, state, found=cut, expected=uncut, what=what)

    for time in subject.times:
        middle = time // 2
        # A piece may be empty, too.
        for cuts in ([middle], [1, middle, middle, time - 1] if time > 3 else [0, time]):
            check(time, cuts, masked=False)
        check(time, [middle], masked=True)


def solving_equals_forward(subject: Subject) -> None:
    """A cell that is solved for all times at once gives what its loop gives, gradients included.

    One that no program can express says so instead.
    """
    mixer = subject.mixer
    assert isinstance(mixer, Cell)
    x, leaves = subject.input(3, 1), list(states.leaves(mixer.initial_state(3)).values())
    if isinstance(mixer.reading(x, leaves), Unreadable):
        try:
            mixer.solve(x)
        except ValueError:
            return
        fail("what is not read as a program was solved")
    for time in (0, 1, 2, 9):
        x, state = subject.input(3, time), subject.state(3)
        reset, lengths = subject.reset(3, time), subject.lengths(3, time)

        def loop(x: Tensor, state: Any, reset=reset, lengths=lengths):
            y, state = mixer(x, state, reset=reset, lengths=lengths)
            return y, [state]

        def solved(x: Tensor, state: Any, reset=reset, lengths=lengths):
            # In exact arithmetic as many iterations as times are enough.
            y, state, report = mixer.solve(x, state, reset=reset, lengths=lengths)
            require(report.converged, f"{len(reset[0])} times did not converge: {report}")
            return y, [state]

        same(subject, x, state, found=solved, expected=loop, what=f"{time} times at once")


def no_state_means_the_initial_state(subject: Subject) -> None:
    """Without a state a mixer begins from its initial state."""
    mixer = subject.mixer
    assert isinstance(mixer, Mixer)
    for time in (0, 1, 7):
        reset = subject.reset(2, time)
        for masks in ({}, {"reset": reset, "lengths": subject.lengths(2, time)}):

            def without(x: Tensor, _, masks: Any = masks):
                y, state = mixer(x, **masks)
                return y, [state]

            def given(x: Tensor, _, masks: Any = masks):
                y, state = mixer(x, mixer.initial_state(2), **masks)
                return y, [state]

            x = subject.input(2, time)
            same(subject, x, (), found=without, expected=given, what=f"{time} inputs")


def is_causal(subject: Subject) -> None:
    """No output depends on a later input, by gradient."""
    limit = {torch.float64: 1e-12, torch.float32: 1e-5}[subject.dtype]
    for time in (time for time in subject.times if time > 1):
        # Row i asks for the gradient of one output alone, so that one pass serves all.
        asked = torch.linspace(0, time - 2, min(time - 1, 8)).long()
        rows = torch.arange(len(asked))
        x = subject.input(1, time).expand(len(asked), *[-1] * (subject.input(1, 1).ndim - 1))
        x = x.clone().requires_grad_()
        y, _ = subject(x)
        (gradient,) = torch.autograd.grad(weigh(y[rows, asked]), x)
        largest = gradient.abs().amax()
        for row, t in enumerate(asked.tolist()):
            ahead = gradient[row, t + 1 :].abs().amax()
            require(
                bool(ahead <= limit * largest),
                f"of {time} inputs, output {t} has a gradient of {ahead.item():.2g} by later ones, "
                f"beside {largest.item():.2g} by any",
            )


def rows_are_kept_apart(subject: Subject) -> None:
    """A row of a batch gives what it gives alone, whatever is in the other rows, NaN included."""
    for time in (1, 7):
        x, state, reset = subject.input(3, time), subject.state(3), subject.reset(3, time)
        lengths = subject.lengths(3, time)

        def together(x: Tensor, state: Any, reset=reset, lengths=lengths):
            y, state = subject(x, state, reset=reset, lengths=lengths)
            return y, [state]

        def alone(x: Tensor, state: Any, reset=reset, lengths=lengths):
            ys, finals = [], []
            for row in range(3):
                one = slice(row, row + 1)
                y, final = subject(
                    x[one], states.select(state, one), reset=reset[one], lengths=lengths[one]
                )
                ys.append(y)
                finals.append(final)
            return torch.cat(ys), finals

        same(subject, x, state, found=together, expected=alone, what=f"{time} inputs")

        other = torch.tensor([False, True, False])
        sick = where_rows(other, tree_map(all_nan, state), state)
        poisoned = filled(x, other, torch.nan)
        clean, _ = subject(x, state)
        agree(subject(poisoned, sick)[0][::2], clean[::2], f"{time} inputs, another row NaN")
