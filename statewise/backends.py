"""Which implementation of an op runs, and why.

Each op has a table, read from the top: the first backend without an objection serves. `use` forces
one; `statewise doctor` prints every choice with its reason.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch as functorch  # pyright: ignore[reportAttributeAccessIssue]
from torch._C import _get_tracing_state as tracing_state
from torch._C import _len_torch_dispatch_stack as dispatch_modes
from torch._C import _to_dlpack
from torch.autograd import forward_ad

BACKENDS = ("reference", "torch", "native")
"""The loop that defines an op, its parallel form in torch, and our C++."""


class Row(NamedTuple):
    """One line of an op's table."""

    backend: str
    objection: Callable[..., str | None]
    """Why this backend cannot or should not serve such inputs, or None where it does."""


class Choice(NamedTuple):
    """What a table answered."""

    backend: str
    reason: str


def _load_core():
    if os.environ.get("STATEWISE_NATIVE", "1").lower() in ("0", "off", "no", "false"):
        return None, "the environment variable STATEWISE_NATIVE switches it off"
    try:
        from statewise import _native  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        if "cannot import name" not in str(error):
            return None, f"it does not load here: {error}"
        return None, (
            "it was not built when statewise was installed: there was no C++ compiler, the build "
            "failed (`pip install -v` shows where), or STATEWISE_NATIVE was 0"
        )
    if level := os.environ.get("STATEWISE_LEVEL"):
        _native.set_level(level)
    return _native, None


core, core_missing = _load_core()
"""The C++ core or None, and then the sentence that says why."""

_read_directly = core is not None and core.read_directly(Tensor)
"""Whether the core looks into tensors, as it does from torch 2.10 on; else it reads capsules."""

_forced: str | None = None
_told: set[str] = set()
_notes: dict[str, set[Choice]] | None = None


class use:
    """Force one backend for every op, from here on or within a `with` block.

    `use(None)` returns to the tables. An op that lacks the backend, or an input the backend cannot
    serve, is a ValueError that says why.
    """

    def __init__(self, backend: str | None):
        global _forced
        if backend is not None and backend not in BACKENDS:
            raise ValueError(f"backend {backend!r} is none of {', '.join(BACKENDS)}")
        self._before, _forced = _forced, backend

    def __enter__(self) -> None:
        """Keep the backend until the block ends."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Return to what was in force before."""
        global _forced
        _forced = self._before


def chosen_by_hand() -> bool:
    """Return whether a backend is forced, or choices are noted: tables are then read."""
    return _forced is not None or _notes is not None


@contextmanager
def noted() -> Iterator[dict[str, set[Choice]]]:
    """Give a dictionary that fills with what is chosen for each op within the block."""
    global _notes
    before, _notes = _notes, {}
    try:
        yield _notes
    finally:
        _notes = before


def choose(op: str, table: Sequence[Row], *inputs: Tensor) -> Choice:
    """Return the backend that computes `op` on such inputs: as many as its table asks for."""
    choice = _choose(op, table, inputs)
    if _notes is not None and not torch.compiler.is_compiling():
        _notes.setdefault(op, set()).add(choice)
    return choice


_FASTEST = {name: Choice(name, "the fastest there is for such inputs") for name in BACKENDS}


def _choose(op: str, table: Sequence[Row], inputs: tuple[Tensor, ...]) -> Choice:
    if _forced is not None:
        # A table may name a backend twice: where it is fastest, and where it merely works.
        why_not = [row.objection(*inputs) for row in table if row.backend == _forced]
        if None not in why_not:
            reason = why_not[-1] if why_not else "there is none"
            raise ValueError(f"{op} cannot use the backend {_forced}: {reason}")
        return Choice(_forced, "forced by statewise.backends.use")
    passed: list[str] = []
    for row in table:
        why_not = row.objection(*inputs)
        if why_not is None:
            if not passed:
                return _FASTEST[row.backend]
            if core is None and inputs[0].device.type == "cpu" and table[0].backend == "native":
                _tell_once(op, row.backend)
            return Choice(row.backend, "; ".join(passed))
        passed.append(f"not {row.backend}: {why_not}")
    raise ValueError(f"{op} has no backend for such inputs ({'; '.join(passed)})")


def _tell_once(op: str, backend: str) -> None:
    if "core" not in _told and not torch.compiler.is_compiling():
        _told.add("core")
        warnings.warn(
            f"{op} runs on the slower {backend} backend: the native core is missing, because "
            f"{core_missing}; `statewise doctor` says what that costs",
            stacklevel=5,
        )


def always(*inputs: Tensor) -> str | None:
    """Object to nothing."""
    return None


_STORED = frozenset((torch.float32, torch.float64, torch.bfloat16))


def without_native(x: Tensor, *others: Tensor) -> str | None:
    """Object to what the C++ core cannot compute, or not correctly."""
    if core is None:
        return "the native core is missing"
    if not x.is_cpu:
        return f"the tensors are on {x.device.type}"
    if x.dtype not in _STORED:
        return f"it has no {str(x.dtype).removeprefix('torch.')}"
    if transformed():
        return "a torch.func transform or forward-mode differentiation needs torch operations"
    return None


def transformed() -> bool:
    """Return whether vmap, jvp or the like is at work, to which a custom op answers wrongly.

    Measured on torch 2.13: forward-mode differentiation through a custom op gives a zero tangent
    and no error. While compiling nothing needs asking: Dynamo rewrites such transforms itself.
    """
    if torch.compiler.is_compiling():
        return False
    return functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def readable(x: Tensor) -> Any:
    """Return a tensor as a kernel can read it.

    Neither way sees the bits by which torch negates and conjugates lazily, so they are resolved.
    """
    if x.is_neg() or x.is_conj():
        x = x.resolve_conj().resolve_neg()
    return x if _read_directly else _to_dlpack(x)


def run(kernel: Callable[..., None], *tensors: Tensor | None) -> None:
    """Call a kernel of the core on tensors, with as many threads as torch uses."""
    if _read_directly:
        # Without a call for each of the thirty tensors of a layer's step.
        arrays = [
            x if x is None or not (x.is_neg() or x.is_conj()) else readable(x) for x in tensors
        ]
    else:
        arrays = [None if x is None else readable(x) for x in tensors]
    kernel(*arrays, torch.get_num_threads())


def plain(tensors: Iterable[Tensor | None]) -> bool:
    """Return whether a kernel may be called directly: ordinary tensors, and nobody is watching.

    The caller sees to gradients.
    """
    if torch.compiler.is_compiling():  # first: Dynamo cannot trace the question to a tensor
        return False
    return _unwatched(tensors) and not transformed()


_batched = functorch.is_legacy_batchedtensor
ORDINARY = frozenset((Tensor, torch.nn.Parameter))
"""Types that kernels read; others, as of weights spread over machines, know torch alone."""


def _unwatched(tensors: Iterable[Tensor | None]) -> bool:
    """Return the same, transforms aside."""
    for x in tensors:
        # `is_grads_batched` has a vmap of its own, which only the tensors show.
        if x is not None and (type(x) not in ORDINARY or _batched(x)):
            return False
    return dispatch_modes() == 0 and tracing_state() is None


def direct(op: str, table: Sequence[Row], tensors: Sequence[Tensor | None]) -> bool:
    """Return whether a step may call its kernel and nothing else: native, with nothing recorded.

    The first tensor, which must be there, is shown to the table. Where gradients are wanted the
    answer is no: a custom op costs more than a few operations of torch.
    """
    if torch.is_grad_enabled():
        for x in tensors:
            if x is not None and x.requires_grad:
                return False
    if torch.compiler.is_compiling() or not _unwatched(tensors):
        return False
    x = tensors[0]
    assert x is not None
    if _forced is None and _notes is None:
        # What `choose` would find, in a third of its time. Every native row objects to transforms.
        return table[0].backend == "native" and table[0].objection(x) is None
    return choose(op, table, x).backend == "native"
