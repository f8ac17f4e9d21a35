"""Planted faults: small broken mixers, by the law that has to catch them.

Each derives from `Average` or `Spread`, which are right, and is wrong in one way that a real mixer
has been wrong in, or could be. The docstring says which.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from statewise import testing
from statewise.mixers.base import Cell, Mixer, WholeSequence, state_dtype, within


class AverageState(NamedTuple):
    h: Tensor
    count: Tensor


def pick(rows: Tensor, yes: AverageState, no: AverageState) -> AverageState:
    """Return rows of one or the other; the package's own is slow where its shapes are checked."""
    return AverageState(
        torch.where(rows[:, None], yes.h, no.h), torch.where(rows, yes.count, no.count)
    )


class Average(Mixer[AverageState]):
    """A running average of projected inputs, from a learned start, with a clock: no fault."""

    def __init__(self, dim: int = 3):
        super().__init__()
        self.dim = self.out = dim
        self.project = nn.Linear(dim, dim)
        self.keep = nn.Parameter(torch.linspace(0, 2, dim))
        self.start = nn.Parameter(torch.randn(dim))

    def initial_state(self, batch, *, device=None, dtype=None):
        start = self.start.to(device, state_dtype(dtype or self.start.dtype))
        count = torch.zeros(batch, dtype=torch.int64, device=start.device)
        return AverageState(start.repeat(batch, 1), count)

    def advance(self, x, h):
        keep = self.keep.to(h.dtype).sigmoid()
        return keep * h + (1 - keep) * self.project(x).to(h.dtype)

    def blank(self, x, real):
        return torch.where(real[..., None], x, 0)

    def restart(self, reset, start, state):
        return pick(reset, start, state)

    def forward(self, x, state=None, *, reset=None, lengths=None):
        start = self.initial_state(len(x), dtype=state_dtype(x.dtype))
        state = start if state is None else state
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        if lengths is not None:
            real = within(lengths, x.shape[1])
            x = self.blank(x, real)
        ys = []
        for t in range(x.shape[1]):
            before = state
            if reset is not None:
                before = self.restart(reset[:, t] & real[:, t], start, state)
            h = self.advance(x[:, t], before.h)
            ys.append(torch.where(real[:, t, None], h, 0).to(x.dtype))
            state = pick(real[:, t], AverageState(h, before.count + 1), state)
        y = torch.stack(ys, 1) if ys else torch.zeros_like(x)
        return y, AverageState(state.h.clone(), state.count.clone())

    def state_size(self, time):
        return self.dim + 1

    @classmethod
    def example(cls):
        return cls()


class Spread(WholeSequence):
    """Each input beside the mean of its stretch between resets: no fault."""

    def __init__(self, dim: int = 3):
        super().__init__()
        self.dim = self.out = dim
        self.project = nn.Linear(dim, dim)

    def forward(self, x, *, lengths=None, reset=None):
        time = x.shape[1]
        real = torch.ones(x.shape[:2], dtype=torch.bool)
        if lengths is not None:
            real = within(lengths, time)
        stretch = torch.zeros(x.shape[:2]) if reset is None else reset.cumsum(1)
        together = self.together(stretch, real)
        inputs = self.project(torch.where(real[..., None], x, 0))
        # What another stretch holds is replaced before the product: it may be NaN.
        seen = torch.where(together[..., None], inputs[:, None], 0)
        mean = seen.sum(2) / together.sum(2).clamp(min=1)[..., None].to(x.dtype)
        return torch.where(real[..., None], inputs + mean, 0)

    def together(self, stretch, real):
        return (stretch[:, :, None] == stretch[:, None]) & real[:, None] & real[:, :, None]

    @classmethod
    def example(cls):
        return cls()


class StepsOtherwise(Average):
    """`step` answers a thousandth more than the whole sequence."""

    def step(self, x, state):
        y, state = super().step(x, state)
        return 1.001 * y, state


class DetachesInSteps(Average):
    """`step` cuts the gradient through the state, as a cache would."""

    def step(self, x, state):
        return super().step(x, AverageState(state.h.detach(), state.count))


class ForgetsItsState(Average):
    """A sequence begins from the start, whatever state is given; only steps carry it."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        carried = state if x.shape[1] == 1 else None
        return super().forward(x, carried, reset=reset, lengths=lengths)


class BeginsElsewhere(Average):
    """Without a state it begins from zeros, and its initial state is learned."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        if state is None:
            h, count = self.initial_state(len(x))
            state = AverageState(torch.zeros_like(h), count)
        return super().forward(x, state, reset=reset, lengths=lengths)


class Peeks(Average):
    """Every output holds a millionth of the mean of all inputs."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, state = super().forward(x, state, reset=reset, lengths=lengths)
        return y + (1e-3 * x).mean(1, keepdim=True), state


class MixesRows(Average):
    """The mean over the batch is subtracted."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, state = super().forward(x, state, reset=reset, lengths=lengths)
        return y - 0.01 * y.mean(0), state


class WritesIntoItsState(Average):
    """The state given is updated in place."""

    def step(self, x, state):
        y, after = super().step(x, state)
        state.h.copy_(after.h.detach())
        return y, after


class RemembersOnItself(Average):
    """The last output is kept on the module, and colours the next call."""

    last = 0.0

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, state = super().forward(x, state, reset=reset, lengths=lengths)
        y = y + self.last
        self.last = y.detach().mean().item() if y.numel() else 0.0
        return y, state


class AnswersItsState(Average):
    """The output of a step is the very tensor that the state holds."""

    def step(self, x, state):
        h = self.advance(x, state.h)
        return h, AverageState(h, state.count + 1)


class HandsBackWhatItGot(Average):
    """Where there is nothing to read, the state given is returned itself."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        if x.shape[1] == 0 and state is not None:
            return torch.zeros_like(x), state
        return super().forward(x, state, reset=reset, lengths=lengths)


class Miscounts(Average):
    """`state_size` forgets the clock."""

    def state_size(self, time):
        return self.dim


class Hoards(Average):
    """The state keeps every output, and is declared not to grow."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, (h, count) = super().forward(x, state, reset=reset, lengths=lengths)
        return y, AverageState(torch.cat([h, *y.unbind(1)], 1)[:, -4:].clone(), count)


class NarrowState(Average):
    """The state takes the precision of the inputs, bfloat16 included."""

    def initial_state(self, batch, *, device=None, dtype=None):
        h, count = super().initial_state(batch, device=device, dtype=dtype)
        return AverageState(h.to(dtype or h.dtype), count)


class SmallCounter(Average):
    """The clock comes back as int32."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, (h, count) = super().forward(x, state, reset=reset, lengths=lengths)
        return y, AverageState(h, count.int())


class KeepsTheSequence(Average):
    """The state is a view of the outputs: it keeps all of them alive."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, state = super().forward(x, state, reset=reset, lengths=lengths)
        if y.shape[1] > 1 and lengths is None:
            state = AverageState(y.clone()[:, -1], state.count)
        return y, state


class RemembersElsewhere(Average):
    """Half of the memory hides on the module, found by the state's address."""

    def __init__(self, dim: int = 3):
        super().__init__(dim)
        self.hidden = {}

    def forward(self, x, state=None, *, reset=None, lengths=None):
        more = 0.0 if state is None else self.hidden.get(state.h.data_ptr(), 0.0)
        y, state = super().forward(x, state, reset=reset, lengths=lengths)
        self.hidden[state.h.data_ptr()] = 1.0
        return y + more, state


class ResetsToZero(Average):
    """A reset puts zeros where the start is learned."""

    def restart(self, reset, start, state):
        return pick(reset, AverageState(0 * start.h, start.count), state)


class ResetsTheWholeBatch(Average):
    """A reset of one row resets all."""

    def restart(self, reset, start, state):
        return super().restart(reset.any().expand(reset.shape), start, state)


class ResetsTheValueOnly(Average):
    """A reset replaces the value, and the gradient passes all the same."""

    def restart(self, reset, start, state):
        h = start.h + state.h - state.h.detach()
        return pick(reset, AverageState(h, start.count), state)


class ResetsByMultiplying(Average):
    """A reset multiplies what was by zero, and zero times NaN is NaN."""

    def restart(self, reset, start, state):
        other = reset[:, None].to(state.h.dtype)
        h = other * start.h + (1 - other) * state.h
        return AverageState(h, torch.where(reset, start.count, state.count))


class MasksByMultiplying(Average):
    """Padding is multiplied by zero, and zero times NaN is NaN."""

    def blank(self, x, real):
        return x * real[..., None]


class AnswersBeyond(Average):
    """Outputs beyond a row's end are not zero but its last."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, after = super().forward(x, state, reset=reset, lengths=lengths)
        if lengths is not None:
            y = torch.where(within(lengths, x.shape[1])[..., None], y, after.h[:, None].to(y.dtype))
        return y, after


class ReadsThePadding(Average):
    """The final state is the one after the padding."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        y, after = super().forward(x, state, reset=reset, lengths=lengths)
        return y, (after if lengths is None else super().forward(x, state, reset=reset)[1])


class NeedsAnInput(Average):
    """An empty sequence is an error."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        if x.shape[1] == 0:
            raise ValueError("nothing to stack")
        return super().forward(x, state, reset=reset, lengths=lengths)


class Idle(Average):
    """A parameter that no output depends on."""

    def __init__(self, dim: int = 3):
        super().__init__(dim)
        self.forgotten = nn.Parameter(torch.ones(dim))


class Overflows(Average):
    """A gate written as e^z / (1 + e^z)."""

    def advance(self, x, h):
        up = (9 * self.project(x)).exp()
        return super().advance(x, h) * (up / (1 + up)).to(h.dtype)


class RoundsItsDecay(Average):
    """A decay near one is computed in the precision of the inputs."""

    def advance(self, x, h):
        keep = (1 - (self.keep - 9).exp()).to(x.dtype)
        return keep.to(h.dtype) * h + (1 - keep).to(h.dtype) * self.project(x).to(h.dtype)


class HidesAWeight(Average):
    """A random constant drawn at construction is not in the `state_dict`."""

    def __init__(self, dim: int = 3):
        super().__init__(dim)
        self.secret = torch.rand(()).item()

    def advance(self, x, h):
        return super().advance(x, h) + self.secret


class _Twisted(torch.autograd.Function):
    """The identity, with a gradient a hundredth too large."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return 1.01 * gradient

    @staticmethod
    def jvp(ctx, tangent):
        return tangent.clone()


class _Still(_Twisted):
    """The identity, with the right gradient and no tangent."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient

    @staticmethod
    def jvp(ctx, tangent):
        return torch.zeros_like(tangent)


class _Once(torch.autograd.Function):
    """The hyperbolic tangent, whose backward is right and cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y.detach())
        return y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y.detach() ** 2)


class WrongGradient(Average):
    """A backward written by hand is a hundredth too large."""

    def advance(self, x, h):
        return _Twisted.apply(super().advance(x, h))


class NoTangent(Average):
    """A custom op answers forward mode with zero, silently."""

    def advance(self, x, h):
        return _Still.apply(super().advance(x, h))


class OnceDifferentiable(Average):
    """A custom backward takes what it saved for constants."""

    def advance(self, x, h):
        return _Once.apply(super().advance(x, h))


class LooksAtItsInput(Average):
    """A branch on a value, which neither vmap nor the compiler can follow."""

    def forward(self, x, state=None, *, reset=None, lengths=None):
        if x.numel() and x.abs().max().item() == 0:
            x = x.clone()
        return super().forward(x, state, reset=reset, lengths=lengths)


class SpreadsOverResets(Spread):
    """The mean takes in the stretches on the other side of a reset."""

    def together(self, stretch, real):
        return real[:, None] & real[:, :, None]


class SpreadsOverPadding(Spread):
    """The mean counts the padding."""

    def together(self, stretch, real):
        return stretch[:, :, None] == stretch[:, None]


class LeakState(NamedTuple):
    h: Tensor


class Leak(Cell[LeakState]):
    """A leaky unit that reads itself: no fault."""

    remembers = LeakState

    def __init__(self, dim: int = 3):
        super().__init__()
        self.dim = self.out = dim
        self.own = nn.Parameter(torch.linspace(-1, 1, dim))

    def shapes(self):
        return {"h": (self.dim,)}

    def cell(self, x, state):
        h = state.h / 2 + (self.own * state.h + x).tanh()
        return h, LeakState(h)

    @classmethod
    def example(cls):
        return cls()


class SolvesWithoutGradient(Leak):
    """Its solution is taken as given: no gradient goes back through time."""

    def solve(self, x, state=None, **options):
        y, state, report = super().solve(x, state, **options)
        return y.detach() + 0 * x, state, report


class SolvesWithoutResets(Leak):
    """Solved for all times at once, it does not see resets."""

    def solve(self, x, state=None, **options):
        return super().solve(x, state, **options | {"reset": None})


class GivesUp(Leak):
    """It answers what did not converge."""

    def solve(self, x, state=None, **options):
        y, state, report = super().solve(x, state, **options)
        return y, state, report._replace(converged=False)


FAULTS: dict[testing.Law, tuple[type[Average] | type[Spread] | type[Leak], ...]] = {
    testing.solving_equals_forward: (SolvesWithoutGradient, SolvesWithoutResets, GivesUp),
    testing.steps_equal_forward: (StepsOtherwise, DetachesInSteps),
    testing.splits_anywhere: (ForgetsItsState,),
    testing.no_state_means_the_initial_state: (BeginsElsewhere,),
    testing.is_causal: (Peeks,),
    testing.the_state_has_its_declared_size: (Miscounts, Hoards),
    testing.the_state_keeps_its_precision: (NarrowState, SmallCounter),
    testing.the_state_owns_its_memory: (KeepsTheSequence,),
    testing.the_state_survives_a_file: (RemembersElsewhere,),
    testing.rows_are_kept_apart: (MixesRows,),
    testing.arguments_are_left_alone: (WritesIntoItsState, RemembersOnItself),
    testing.outputs_alias_nothing: (AnswersItsState, HandsBackWhatItGot),
    testing.a_reset_is_a_fresh_start: (ResetsToZero, ResetsTheWholeBatch, SpreadsOverResets),
    testing.no_gradient_crosses_a_reset: (ResetsTheValueOnly,),
    testing.a_reset_heals_nan: (ResetsByMultiplying,),
    testing.padding_changes_nothing: (
        MasksByMultiplying,
        AnswersBeyond,
        ReadsThePadding,
        SpreadsOverPadding,
    ),
    testing.nothing_is_legal: (NeedsAnInput,),
    testing.every_parameter_learns: (Idle,),
    testing.extreme_inputs_stay_finite: (Overflows,),
    testing.bfloat16_is_close: (RoundsItsDecay,),
    testing.state_dict_round_trips: (HidesAWeight,),
    testing.gradients_are_right: (WrongGradient,),
    testing.forward_mode_is_right: (NoTangent,),
    testing.vmap_is_a_loop: (LooksAtItsInput,),
    testing.double_backward_is_right: (OnceDifferentiable,),
    testing.compiles_whole: (LooksAtItsInput,),
}
"""Every law, and the faults it has to catch."""
