"""The linear map that all mixers are built from:  y = x weight' + bias.

It has no memory. It is here because most of the time of a recurrent model goes into it, and the
library of products that torch brings runs at half of what some processors can do.
"""

from functools import cache

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Float
from torch import Tensor, float32, float64, is_autocast_enabled, is_grad_enabled
from torch.backends import mkl
from torch.compiler import is_compiling

from statewise import backends
from statewise.ops.linear import few, native, reference
from statewise.ops.linear.torch import linear as by_torch

__all__ = ["TABLE", "linear"]

LEAST_ROWS, LEAST_PRODUCTS = 64, 1 << 23
"""Rows of x, and multiplications, below which torch's own is as fast (`benchmarks.ops linear`)."""
LEAST_WEIGHTS = 1 << 17
"""Weights below which the call of a kernel for few rows costs what it saves."""


def without_gain(x: Tensor, weight: Tensor | None = None) -> str | None:
    """Object to torch's own where the core multiplies faster."""
    # A compiler for whole graphs knows torch's, and may fuse it with what follows.
    if is_compiling() or weight is None:
        return None
    if _few(x, weight):
        return "the core reads a matrix for few rows faster here" if outpaced_by_few() else None
    if x.numel() * len(weight) < LEAST_PRODUCTS or x.numel() < LEAST_ROWS * x.shape[-1]:
        return None
    if x.dtype not in (float32, float64) or not x.is_cpu:
        return None
    if not {type(x), type(weight)} <= backends.ORDINARY or is_autocast_enabled("cpu"):
        return None
    return "the core multiplies large matrices faster here" if outpaced() else None


def _few(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Return whether the kernel for few rows can serve, and pays."""
    if is_compiling() or x.numel() > few.FEW * x.shape[-1] or weight.numel() < LEAST_WEIGHTS:
        return False
    if x.dtype != float32 or weight.dtype != float32 or not x.is_cpu or is_autocast_enabled("cpu"):
        return False
    if bias is not None and bias.dtype != float32:
        return False
    given = (x, weight, bias)
    if is_grad_enabled() and any(y is not None and y.requires_grad for y in given):
        return False
    return backends.plain(given)


def outpaced() -> bool:
    """Return whether the core multiplies faster than the library that torch was built with.

    That library is Intel's, which keeps AVX-512 for processors of that maker: on another's it made
    170 GFLOP/s where the core made 350.
    """
    if backends.core is None or not mkl.is_available():
        return False
    about = backends.core.about()
    return about["vendor"] != "intel" and about["level"] == "avx512"


@cache
def outpaced_by_few() -> bool:
    """Return whether the core reads a matrix for few rows faster than that library."""
    if backends.core is None or not mkl.is_available():
        return False
    return backends.core.about()["vendor"] != "intel"


TABLE = (
    backends.Row("torch", without_gain),
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"native": native.linear, "torch": by_torch, "reference": reference.linear}


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return x weight' + bias, as `torch.nn.functional.linear` does.

    Args:
        x: of any number of axes, the last of them the inputs of the map.
        weight: a row for each output.
        bias: added to every output.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x {tuple(x.shape)} should end in the inputs of weight {tuple(weight.shape)}, "
            "which is (outputs, inputs)"
        )
    # Asked first, since a token of a large model asks it a hundred times.
    if _few(x, weight, bias) and not backends.chosen_by_hand() and outpaced_by_few():
        return few.multiply(x, weight, None, bias)
    backend = backends.choose("linear", TABLE, x, weight).backend
    return _FORMS[backend](x, weight, bias)


def remarks() -> list[str]:
    """Return what serves large products here, in a sentence."""
    by = "the core" if outpaced() else "torch"
    return [
        f"products of {LEAST_PRODUCTS:,} multiplications and more, in float32: by {by}",
        f"at most {few.FEW} rows by {LEAST_WEIGHTS:,} weights and more, in float32: by {by}",
    ]
