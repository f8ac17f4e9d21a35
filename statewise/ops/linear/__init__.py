"""The linear map that all mixers are built from:  y = x weight' + bias.

It has no memory. It is here because most of the time of a recurrent model goes into it, and the
library of products that torch brings runs at half of what some processors can do.
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Float
from torch import Tensor, float32, float64, is_autocast_enabled
from torch.backends import mkl
from torch.compiler import is_compiling

from statewise import backends
from statewise.ops.linear import native, reference
from statewise.ops.linear.torch import linear as by_torch

__all__ = ["TABLE", "linear"]

LEAST_ROWS, LEAST_PRODUCTS = 64, 1 << 23
"""Rows of x, and multiplications, below which torch's own is as fast (`benchmarks.ops linear`)."""


def without_gain(x: Tensor, weight: Tensor | None = None) -> str | None:
    """Object to torch's own where the core multiplies large matrices faster."""
    # A compiler for whole graphs knows torch's, and may fuse it with what follows.
    if is_compiling() or weight is None or x.numel() * len(weight) < LEAST_PRODUCTS:
        return None
    if x.numel() < LEAST_ROWS * x.shape[-1] or x.dtype not in (float32, float64) or not x.is_cpu:
        return None
    if not {type(x), type(weight)} <= backends.ORDINARY or is_autocast_enabled("cpu"):
        return None
    return "the core multiplies large matrices faster here" if outpaced() else None


def outpaced() -> bool:
    """Return whether the core multiplies faster than the library that torch was built with.

    That library is Intel's, which keeps AVX-512 for processors of that maker: on another's it made
    170 GFLOP/s where the core made 350.
    """
    if backends.core is None or not mkl.is_available():
        return False
    about = backends.core.about()
    return about["vendor"] != "intel" and about["level"] == "avx512"


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
    return _FORMS[backends.choose("linear", TABLE, x, weight).backend](x, weight, bias)


def remarks() -> list[str]:
    """Return what serves large products here, in a sentence."""
    by = "the core" if outpaced() else "torch"
    return [f"products of {LEAST_PRODUCTS:,} multiplications and more, in float32: by {by}"]
