"""What can be done with a state: keep it in a file, pick and stack rows, fork, move, measure.

A state is any tree of tensors, batch first: a mixer's `NamedTuple`, a model's tuple of those of its
branches. It is a value: every function here returns fresh tensors, and none changes what it is
given.

Files are safetensors, never pickle. Beside the tensors they hold the version of the format, each
leaf's name, dtype and shape, and, when saved with the model, a fingerprint of its weights.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map, tree_unflatten

__all__ = [
    "detach",
    "fingerprint",
    "fork",
    "leaves",
    "load",
    "nbytes",
    "save",
    "select",
    "stack",
    "to",
]

State = TypeVar("State")

_FORMAT = "statewise state"
_VERSION = 1


@runtime_checkable
class Stateful(Protocol):
    """A mixer or a model: it has weights, and a state before any input."""

    def initial_state(self, batch: int, /) -> Any:
        """Return the state before any input."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...


def leaves(state: Any) -> dict[str, Tensor]:
    """Return the tensors of a state by name, such as `h`, or `[0].h` for the first part's h.

    Raises:
        TypeError: if a leaf is no tensor, or a tensor without a batch axis.
    """
    named = {}
    for path, leaf in tree_flatten_with_path(state)[0]:
        name = keystr(path).removeprefix(".") or "state"
        if not isinstance(leaf, Tensor):
            raise TypeError(f"the state's leaf {name} is a {type(leaf).__name__}, not a tensor")
        if leaf.ndim == 0:
            raise TypeError(f"the state's leaf {name} is a scalar: its axis 0 should be the batch")
        named[name] = leaf
    return named


def select(state: State, rows: Sequence[int] | slice | Tensor) -> State:
    """Return the state of some rows, in the order given.

    Args:
        state: a state.
        rows: a slice, row numbers (a list or a tensor of integers), or a boolean mask (batch,).

    Raises:
        IndexError: if there is no such row.
    """
    for name, leaf in leaves(state).items():
        try:
            _index(rows, len(leaf))
        except IndexError as error:
            raise IndexError(
                f"rows {rows!r} are not all among the {len(leaf)} rows of the state's leaf {name} "
                f"{tuple(leaf.shape)}"
            ) from error
    return tree_map(lambda leaf: leaf[_index(rows, len(leaf)).to(leaf.device)], state)


def _index(rows: Sequence[int] | slice | Tensor, batch: int) -> Tensor:
    index = torch.arange(batch)
    if isinstance(rows, slice):
        return index[rows]
    wanted = torch.as_tensor(rows).cpu()
    return index[wanted if wanted.numel() else wanted.long()]


def stack(states: Sequence[State]) -> State:
    """Return one state with the rows of several, one after another.

    Raises:
        ValueError: if there are none, or if two differ in anything but the batch. A state that
            grows can only be stacked with one that has read as much.
    """
    if not states:
        raise ValueError("there is no state to stack")
    first = leaves(states[0])
    for number, other in enumerate(states[1:], 1):
        if (difference := _difference(leaves(other), first)) is not None:
            raise ValueError(f"state {number} cannot be stacked with state 0: {difference}")
    return tree_map(lambda *parts: torch.cat(parts), *states)


def fork(state: State, copies: int) -> State:
    """Return a state with each row repeated: rows 0, 0, 1, 1, ... for two copies.

    Raises:
        ValueError: if `copies` is negative.
    """
    if copies < 0:
        raise ValueError(f"copies should be 0 or more, not {copies}")
    return tree_map(lambda leaf: leaf.repeat_interleave(copies, 0), state)


def detach(state: State) -> State:
    """Return the state cut off from the graph that made it: gradients stop here."""
    return tree_map(lambda leaf: leaf.detach().clone(), state)


def to(
    state: State, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> State:
    """Return the state on another device or in another precision.

    Only floating and complex leaves change precision, and never to less than float32: a state in
    bfloat16 forgets.
    """

    def move(leaf: Tensor) -> Tensor:
        kind = leaf.dtype
        if dtype is not None and (leaf.is_floating_point() or leaf.is_complex()):
            kind = torch.promote_types(dtype, torch.float32)
            kind = kind.to_complex() if leaf.is_complex() else kind
        return leaf.to(device=device, dtype=kind, copy=True)

    return tree_map(move, state)


def nbytes(state: Any) -> int:
    """Return how many bytes a state's tensors hold."""
    return sum(leaf.numel() * leaf.element_size() for leaf in leaves(state).values())


def save(path: str | os.PathLike[str], state: Any, *, model: Stateful | str | None = None) -> None:
    """Write a state to a file, all or nothing: a file that was there stays whole until replaced.

    Args:
        path: where to. By convention it ends in `.safetensors`.
        state: a state.
        model: whose state it is. Its weights' fingerprint is kept, and `load` checks it; the
            fingerprint itself where it is at hand.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    from safetensors.torch import save as to_bytes

    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    named = leaves(state)
    about = {
        "version": _VERSION,
        "leaves": {name: [str(leaf.dtype), list(leaf.shape)] for name, leaf in named.items()},
        "weights": None if model is None else _made_by(model),
    }
    # Complex numbers as pairs: safetensors has no complex128.
    plain = {
        name: torch.view_as_real(leaf) if leaf.is_complex() else leaf
        for name, leaf in named.items()
    }
    data = to_bytes(
        {name: leaf.detach().cpu().clone().contiguous() for name, leaf in plain.items()},
        {_FORMAT: json.dumps(about)},
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(
    path: str | os.PathLike[str],
    *,
    model: Stateful | str | None = None,
    like: State | None = None,
    other_weights: bool = False,
) -> State:
    """Read a state that `save` wrote, onto the device of the model, or of the example.

    Args:
        path: the file.
        model: whose state it should be, or the fingerprint of its weights.
        like: an example of the state, of any batch, where it is not `model.initial_state`'s.
        other_weights: take a state of the same structure although other weights made it.

    An axis that is empty in the model's initial state (or in `like`) is one that grows: in the file
    it may have any length.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut short or something else; if its state has another structure,
            naming the first leaf that differs; if other weights made it.
    """
    if like is None and (model is None or isinstance(model, str)):
        raise ValueError("load needs model= or like=, to know the structure of the state")
    path = Path(path)
    weights, found = _read(path)
    if like is None and isinstance(model, Stateful):
        like = cast(State, model.initial_state(next((len(leaf) for leaf in found.values()), 0)))
    expected = leaves(like)
    if (difference := _difference(found, expected, grown=True)) is not None:
        raise ValueError(f"{path} holds a state of another structure: {difference}")
    if model is not None and weights not in (None, _made_by(model)) and not other_weights:
        raise ValueError(
            f"{path} holds a state made by other weights than this model's; "
            "other_weights=True takes it all the same"
        )
    fresh = [found[name].to(leaf.device, copy=True) for name, leaf in expected.items()]
    return tree_unflatten(fresh, tree_flatten_with_path(like)[1])


def _read(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Return the fingerprint and the leaves that a file holds."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} holds no state: it was cut short, or is no safetensors file ({error})"
        ) from error
    if _FORMAT not in metadata:
        raise ValueError(f"{path} holds no state: it is a safetensors file of something else")
    about = json.loads(metadata[_FORMAT])
    if about["version"] > _VERSION:
        raise ValueError(
            f"{path} was written by a newer statewise: its format is {about['version']}, "
            f"and {_VERSION} is the last that this one reads"
        )
    pairs = {name for name, (kind, _) in about["leaves"].items() if "complex" in kind}
    return about["weights"], {
        name: torch.view_as_complex(tensors[name]) if name in pairs else tensors[name]
        for name in about["leaves"]
    }


def _difference(
    found: dict[str, Tensor], expected: dict[str, Tensor], *, grown: bool = False
) -> str | None:
    """Say where two states first differ in structure, or return None; any batch will do.

    With `grown`, axes empty in `expected` may have any length, and any precision will do.
    """
    for name, leaf in expected.items():
        if name not in found:
            return f"it has no leaf {name}, which should be {_shape(leaf)}"
        other = found[name]
        kinds = (_kind(other), _kind(leaf)) if grown else (other.dtype, leaf.dtype)
        if kinds[0] != kinds[1]:
            return f"its leaf {name} is {other.dtype} and should be {leaf.dtype}"
        fits = len(other.shape) == len(leaf.shape) and all(
            a == b or (grown and b == 0)
            for a, b in zip(other.shape[1:], leaf.shape[1:], strict=True)
        )
        if not fits:
            return f"its leaf {name} is {_shape(other)} and should be {_shape(leaf)}"
    for name in found:
        if name not in expected:
            return f"it has a leaf {name}, which should not be there"
    return None


def _shape(leaf: Tensor) -> str:
    return "(" + ", ".join(["batch", *map(str, leaf.shape[1:])]) + ")"


def _kind(leaf: Tensor) -> str:
    """Return what may not change between a file and a model: not the width of its floats."""
    if leaf.is_complex():
        return "complex"
    return "floating" if leaf.is_floating_point() else str(leaf.dtype)


def _made_by(model: Stateful | str) -> str:
    return model if isinstance(model, str) else fingerprint(model)


def fingerprint(model: Stateful) -> str:
    """Return a hash over the names, dtypes, shapes and bytes of a model's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        flat = weight.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy())
    return digest.hexdigest()
