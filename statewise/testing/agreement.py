"""When two results count as the same: by relative norm, tensor by tensor."""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

LIMITS = {torch.float64: 1e-9, torch.float32: 1e-5}
"""How large ||a - b|| / ||b|| may be."""


class LawBroken(AssertionError):
    """A law does not hold."""


def fail(what: str) -> NoReturn:
    """Say what is wrong."""
    raise LawBroken(what)


def require(condition: bool, what: str) -> None:
    """Say what is wrong, unless the condition holds."""
    if not condition:
        fail(what)


def agree(found: Any, expected: Any, what: str, *, scale: float = 0.0) -> None:
    """Require two trees of tensors to be the same, tensor by tensor.

    Shapes and dtypes are equal; integers and booleans are equal; of the others the norm of the
    difference is at most `LIMITS` of their precision, times the norm of what was expected, or times
    `scale` where that is larger. Zero agrees with zero, an infinity with itself, NaN with nothing.
    """
    ours, theirs = (tree_flatten_with_path(tree)[0] for tree in (found, expected))
    if [path for path, _ in ours] != [path for path, _ in theirs]:
        fail(f"{what}: the structure is {_names(ours)} and should be {_names(theirs)}")
    for (path, a), (_, b) in zip(ours, theirs, strict=True):
        name = f"{what} {keystr(path)}".rstrip()
        if a.shape != b.shape or a.dtype != b.dtype:
            fail(f"{name}: {tuple(a.shape)} of {a.dtype} should be {tuple(b.shape)} of {b.dtype}")
        if not (b.is_floating_point() or b.is_complex()):
            require(torch.equal(a, b), f"{name}: the whole numbers differ")
            continue
        error, bound = distance(a, b, scale=scale), LIMITS[b.real.dtype]
        # Written so that NaN fails.
        require(error <= bound, f"{name}: the relative difference is {error:.2g}, above {bound:g}")


def distance(found: Tensor, expected: Tensor, *, scale: float = 0.0) -> float:
    """Return ||found - expected|| / ||expected||: 0 where they are equal, NaN if either is NaN.

    Where `scale` is larger than the norm of what was expected, it is divided by instead.
    """
    kind = torch.complex128 if expected.is_complex() else torch.float64
    a, b = found.detach().to(kind), expected.detach().to(kind)
    difference = torch.where(a == b, 0, a - b).abs().square().sum().sqrt()
    if difference == 0:
        return 0.0
    return (difference / b.abs().square().sum().sqrt().clamp(min=scale)).item()


def _names(leaves: list[Any]) -> str:
    return ", ".join(keystr(path) or "one tensor" for path, _ in leaves) or "empty"
