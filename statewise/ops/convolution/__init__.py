"""Convolutions over time that are the same at all times.

The short one:  y_t = bias + sum_j weight_j * x_{t - width + 1 + j},  each feature by itself.
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.convolution import reference
from statewise.ops.convolution.torch import short_convolution as by_shifts

__all__ = ["TABLE", "short_convolution", "short_convolution_step"]

TABLE = (
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"torch": by_shifts, "reference": reference.short_convolution}


def short_convolution(
    x: Float[Tensor, "batch time dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    *,
    initial: Float[Tensor, "batch past dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return a causal convolution of each feature, and the last width - 1 inputs, a fresh tensor.

    Args:
        x: the inputs; their dtype is the output's. Arithmetic is in float32 or wider.
        weight: the taps; the last is for the present input, as in torch.nn.Conv1d.
        bias: added to every output.
        initial: the width - 1 inputs before the first, oldest first; zeros if absent.
        reset: where true, the inputs before that time count as zero from there on.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            inputs returned end with its last real one; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    batch, time, dim = x.shape
    if weight.ndim != 2 or weight.shape[0] != dim or weight.shape[1] == 0:
        raise ValueError(
            f"short_convolution: weight {tuple(weight.shape)} should be (dim, width) with "
            f"dim = {dim} and width at least 1"
        )
    if bias is not None and bias.shape != (dim,):
        raise ValueError(f"short_convolution: bias {tuple(bias.shape)} should be (dim,) = {(dim,)}")
    past = (batch, weight.shape[1] - 1, dim)
    work = promote_types(promote_types(x.dtype, weight.dtype), float32)
    if initial is None:
        initial = x.new_zeros(past, dtype=work)
    elif initial.shape != past:
        raise ValueError(
            f"short_convolution: initial {tuple(initial.shape)} should be (batch, width - 1, dim) "
            f"= {past}"
        )
    work = promote_types(work, initial.dtype)
    check_marks("short_convolution", batch, time, reset, lengths)
    form = _FORMS[backends.choose("convolution", TABLE, x).backend]
    output, final = form(
        x.to(work),
        weight.to(work),
        None if bias is None else bias.to(work),
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(x.dtype), final


def short_convolution_step(
    x: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None,
    past: Float[Tensor, "batch past dim"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch past dim"]]:
    """Return one output of `short_convolution`, and the last width - 1 inputs."""
    output, after = reference.step(x.to(past.dtype), weight, bias, past)
    return output.to(x.dtype), after.to(past.dtype)
