"""The interface every mixer fulfils. `statewise.testing` turns it into executable laws."""

import abc
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from statewise import backends
from statewise.ops import newton, programs

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


class Shaped(Mixer[State]):
    """A mixer whose state has leaves of fixed shapes: it names them, and the rest follows."""

    remembers: ClassVar[type]
    """The state: a NamedTuple with a leaf for each of `shapes`."""

    starts: ClassVar[Mapping[str, float]] = {}
    """What the leaves hold at the start that do not hold zeros, such as {"maximum": -inf}."""

    complex_leaves: ClassVar[tuple[str, ...]] = ()
    """The leaves that are complex, with parts of the precision of the others."""

    counters: ClassVar[tuple[str, ...]] = ()
    """The leaves that count, in int64."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of each leaf of one row's state, in the order of the state."""
        raise NotImplementedError(f"{type(self).__name__} should have `shapes`, or `initial_state`")

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return the state before any input."""
        leaves = []
        for name, shape in self.shapes().items():
            leaf = zeros(self, batch, *shape, device=device, dtype=dtype)
            if name in self.complex_leaves:
                leaf = leaf.to(leaf.dtype.to_complex())
            leaf = leaf + self.starts.get(name, 0.0)
            leaves.append(leaf.long() if name in self.counters else leaf)
        return self.remembers(*leaves)

    def state_size(self, time: int) -> int:
        """Return the numbers of all leaves, complex ones counted once, whatever was read."""
        return sum(math.prod(shape) for shape in self.shapes().values())


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


class Cell(Shaped[State]):
    """A mixer that is written as one step: give `cell`, and the rest follows.

    `cell` is read: it runs once, and what it computed becomes a program of the native core, with
    resets, lengths and gradients; what reads inputs alone is computed for all times at once. A cell
    that cannot be read, because it draws random numbers or looks at the numbers that it computes,
    is a loop.

    `cell` has to be a function of its arguments, of parameters and buffers, and of plain
    attributes. It sees all of them in the precision of the state.
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
        """Map a whole sequence."""
        return self._carried(programs.recur, x, state, reset, lengths)

    def solve(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        **options: Any,
    ) -> tuple[Float[Tensor, "batch time out"], State, newton.Report]:
        """Map a whole sequence with all its states at once, by Newton's method; say how it went.

        What it answers is what `forward` does, gradients included. Where it does not converge a
        warning says so, and the states are computed one after another. It pays where many small
        operations side by side are cheaper than few after another: not on a processor.

        Args:
            x: the inputs.
            state: before the first; the initial state if absent.
            reset: where the state returns to its start.
            lengths: of the rows.
            options: structure, tolerance, iterations and damping, as `statewise.ops.newton.recur`
                has them.

        Raises:
            ValueError: if the cell cannot be read, or the structure does not fit it.
        """
        reports = list[newton.Report]()
        form = partial(newton.recur, reports=reports, **options)

        def solved(_: Any, reading: Any, *given: Any, **marks: Any) -> Any:
            if isinstance(reading, programs.Unreadable):
                raise ValueError(f"{type(self).__name__} is not solved for all times: {reading}")
            return programs.by_form(form, reading, *given, **marks)

        y, after = self._carried(solved, x, state, reset, lengths)
        return y, after, reports[0]

    def _carried(
        self,
        recur: Callable[..., Any],
        x: Tensor,
        state: State | None,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State]:
        """Return what one way of computing a cell answers, from the state or the initial one."""
        start = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))
        first, structure = tree_flatten(start)
        leaves = first if state is None else tree_flatten(state)[0]
        work = _precision(x, leaves)
        y, after = recur(
            partial(_called, self, structure),
            self.reading(x, leaves),
            {name: _in(work, p) for name, p in _tensors(self)},
            x.to(work),
            initial=[_in(work, leaf) for leaf in leaves],
            start=[_in(work, leaf) for leaf in first],
            reset=reset,
            lengths=lengths,
        )
        return y.to(x.dtype), tree_unflatten(after, structure)

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input."""
        leaves, structure = tree_flatten(state)
        work = _precision(x, leaves)
        parameters = {name: _in(work, p) for name, p in _tensors(self)}
        y, after = _called(self, structure, parameters, x.to(work), leaves)
        state = tree_unflatten(after, structure)
        # A cell may answer with its state, or hand on a leaf as it was: both become fresh here.
        return y.to(x.dtype, copy=True), tree_map(torch.clone, state)

    def reading(
        self, x: Float[Tensor, "batch *time dim"], leaves: Sequence[Tensor]
    ) -> programs.Reading | programs.Unreadable:
        """Return what `cell` computes on such inputs and states, or why it remains a loop."""
        if torch.compiler.is_compiling() or backends.transformed():
            return _NOT_NOW
        work = _precision(x, leaves)
        key = (work, x.shape[-1], *(leaf.shape[1:] for leaf in leaves), *_settings(self))
        known = _READINGS.setdefault(self, {})
        if key not in known:
            cell = partial(_called, self, tree_flatten(self.initial_state(1))[1])
            try:
                known[key] = programs.read(cell, dict(_tensors(self)), x.shape[-1], leaves, work)
            except programs.Unreadable as why:
                known[key] = why
        return known[key]


_NOT_NOW = programs.Unreadable("nothing is read within torch.compile and transforms")
_READINGS: weakref.WeakKeyDictionary[nn.Module, dict[Any, Any]] = weakref.WeakKeyDictionary()
"""What was read, by cell: not kept on modules, which are copied and saved."""


class _Called(nn.Module):
    """`cell` as the forward of a module, which is what torch can call with other parameters."""

    def __init__(self, mixer: Cell[Any]):
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.mixer.cell(x, state)


def _called(
    mixer: Cell[Any],
    structure: TreeSpec,
    parameters: Mapping[str, Tensor],
    x: Tensor,
    leaves: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Return what a cell answers with other parameters, and the leaves of its next state."""
    state = tree_unflatten(list(leaves), structure)
    if all(parameters[name] is p for name, p in _tensors(mixer)):
        y, after = mixer.cell(x, state)
    else:
        named = {f"mixer.{name}": p for name, p in parameters.items()}
        y, after = functional_call(_Called(mixer), named, (x, state))
    return y, tree_flatten(after)[0]


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _in(work: torch.dtype, leaf: Tensor) -> Tensor:
    return leaf.to(work) if leaf.is_floating_point() else leaf


def _precision(x: Tensor, leaves: Sequence[Tensor]) -> torch.dtype:
    """Return the dtype in which a cell computes."""
    work = state_dtype(x.dtype)
    for leaf in leaves:
        if leaf.is_floating_point():
            work = torch.promote_types(work, leaf.dtype)
    return work


def _settings(module: nn.Module) -> Iterator[Any]:
    """Give what a cell may depend on besides tensors: what differs is read anew."""
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            if isinstance(value, bool | int | float | str):
                yield name, key, value
            elif isinstance(value, dict) and all(isinstance(v, float) for v in value.values()):
                yield name, key, tuple(value.items())
    yield from (p.shape for _, p in _tensors(module))


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
    floating = (tensor for _, tensor in _tensors(module) if tensor.is_floating_point())
    parameter = next(floating, torch.empty(0))
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
