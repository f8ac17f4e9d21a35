"""The interface every mixer fulfils. `statewise.testing` turns it into executable laws."""

import abc
from typing import Generic, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map

State = TypeVar("State")


class Mixer(nn.Module, abc.ABC, Generic[State]):
    """A causal map between sequences whose whole memory is a state.

    The state is a `NamedTuple` of tensors, batch first; it is a value: given, returned, never kept
    on the module, never changed in place. Its leaves are float32 or wider, counters int64.
    """

    dim: int
    """Features read at each time."""

    out: int
    """Features answered at each time."""

    @abc.abstractmethod
    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before any input.

        `device` defaults to the parameters'; `dtype`, of the floating leaves, to the parameters' or
        float32, whichever is wider.
        """

    @abc.abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence; return the outputs and the state after the last real input.

        Where `reset[b, t]`, row b returns to its start before input t is read. Beyond `lengths[b]`
        outputs are zero, and neither inputs nor resets are read.
        """

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input. Override where a step is cheaper than a sequence of length one."""
        y, state = self(x[:, None], state)
        return y[:, 0], state

    @abc.abstractmethod
    def state_size(self, time: int) -> int:
        """Return how many numbers one row's state holds after `time` inputs."""

    @classmethod
    @abc.abstractmethod
    def example(cls) -> "Mixer[State]":
        """Return a small instance for the laws and the documentation."""


class WholeSequence(nn.Module, abc.ABC):
    """A map that reads the whole sequence before it answers: bidirectional, non-causal, prefix.

    It has no state and no step, and a language model refuses it.
    """

    dim: int
    """Features read at each time."""

    out: int
    """Features answered at each time."""

    @abc.abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map a whole sequence. Beyond `lengths` outputs are zero; nothing crosses a reset."""

    @classmethod
    @abc.abstractmethod
    def example(cls) -> "WholeSequence":
        """Return a small instance for the laws and the documentation."""


class Cell(Mixer[State]):
    """A mixer that is written as one step: give `cell`, and the rest follows.

    The whole-sequence form is a loop over `cell`, with resets, lengths and gradients.
    """

    @abc.abstractmethod
    def cell(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input, as a pure function."""

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence, one input after another."""
        start = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))
        state = start if state is None else state
        real = None if lengths is None else within(lengths, x.shape[1])
        if real is not None:
            x = torch.where(real[..., None], x, 0)
        ys = []
        for t in range(x.shape[1]):
            before = state if reset is None else where_rows(reset[:, t], start, state)
            y, after = self.cell(x[:, t], before)
            if real is not None:
                y = torch.where(real[:, t, None], y, 0)
                after = where_rows(real[:, t], after, state)
            state = after
            ys.append(y)
        y = torch.stack(ys, 1) if ys else x.new_zeros(len(x), 0, self.out)
        return y, tree_map(torch.clone, state)

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input."""
        y, state = self.cell(x, state)
        # A cell may answer with its state, or hand on a leaf as it was: both become fresh here.
        return y.clone(), tree_map(torch.clone, state)


def state_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """Return the precision a state keeps beside inputs of `dtype`: float32 or wider."""
    return torch.promote_types(dtype or torch.get_default_dtype(), torch.float32)


def zeros(
    module: nn.Module,
    *shape: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return a leaf of a module's initial state: where and as wide as `initial_state` promises."""
    parameter = next(module.parameters())
    dtype = state_dtype(dtype or parameter.dtype)
    # Not `new_zeros`: of a parameter that is sharded over processes it would be sharded as well.
    return torch.zeros(shape, device=device or parameter.device, dtype=dtype)


def within(lengths: Int[Tensor, " batch"], time: int) -> Bool[Tensor, "batch time"]:
    """Return where a padded batch is real."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def blank(
    x: Float[Tensor, "batch time features"], lengths: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch time features"]:
    """Return a sequence with zeros where it is padding, which may be NaN."""
    return x if lengths is None else torch.where(within(lengths, x.shape[1])[..., None], x, 0)


def where_rows(rows: Bool[Tensor, " batch"], yes: State, no: State) -> State:
    """Return the state that is `yes` in the rows named and `no` in the others."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return cast(State, tree_map(pick, yes, no))
