"""The diagonal scan  h_t = decay_t * h_{t-1} + drive_t,  which most linear mixers rest on."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Inexact, Int
from torch import Tensor, addcmul, complex64, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.scan import native, reference
from statewise.ops.scan.torch import scan as parallel_scan

__all__ = ["TABLE", "scan", "scan_step"]


def _without_native(drive: Tensor) -> str | None:
    return backends.without_native(drive.real if drive.is_complex() else drive)


TABLE = (
    backends.Row("native", _without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"native": native.scan, "torch": parallel_scan, "reference": reference.scan}


def scan(
    decay: Inexact[Tensor, "batch time dim"] | Inexact[Tensor, " dim"],
    drive: Inexact[Tensor, "batch time dim"],
    *,
    initial: Inexact[Tensor, "batch dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last, a fresh tensor.

    Any of the three tensors may be complex; the results then are too. Gradients follow torch's
    convention: that of a complex tensor points where the loss grows fastest.

    Args:
        decay: in [-1, 1], or complex in the unit disc; (dim,) if it is the same at all times, which
            takes no memory for each time, nor does its gradient. Prefer float32 where it comes near
            one: bfloat16 has no number between 0.996 and 1.
        drive: what is added; its dtype is the output's, or the complex one of its precision.
        initial: h before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, h_{t-1} counts as zero. A learned start s adds `decay * s` to the drive
            there.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    if drive.ndim != 3 or decay.shape not in (drive.shape, drive.shape[2:]):
        raise ValueError(
            f"scan: decay {tuple(decay.shape)} and drive {tuple(drive.shape)} should both be "
            "(batch, time, dim), or decay (dim,)"
        )
    batch, time, dim = drive.shape
    if initial is not None and initial.shape != (batch, dim):
        raise ValueError(
            f"scan: initial {tuple(initial.shape)} should be (batch, dim) = {(batch, dim)}"
        )
    check_marks("scan", batch, time, reset, lengths)
    both = promote_types(decay.dtype, drive.dtype)
    work = promote_types(both, float32)
    if initial is not None:
        work = promote_types(work, initial.dtype)
    # What is stored for each time is as narrow as it was given, unless the work is wider than
    # float32: kernels widen by one step only. A constant decay is stored once, and wide.
    stored = both if decay.ndim == 3 else drive.dtype
    if work != float32:
        stored = work
    dtype = promote_types(drive.dtype, complex64) if work.is_complex else drive.dtype
    if initial is None:
        initial = drive.new_zeros(batch, dim, dtype=work)
    drive = drive.to(stored)
    form = _FORMS[backends.choose("scan", TABLE, drive).backend]
    output, final = form(
        decay.to(stored if decay.ndim == 3 else work),
        drive,
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(dtype), final


def scan_step(
    decay: Inexact[Tensor, "batch dim"] | Inexact[Tensor, " dim"],
    drive: Inexact[Tensor, "batch dim"],
    h: Inexact[Tensor, "batch dim"],
) -> Inexact[Tensor, "batch dim"]:
    """Return the next h, one step of `scan`, in the dtype of the h given.

    If decay or drive is complex, so is the result.

    Raises:
        ValueError: if shapes do not fit together.
    """
    if h.ndim != 2 or drive.shape != h.shape or decay.shape not in (h.shape, h.shape[1:]):
        raise ValueError(
            f"scan_step: drive {tuple(drive.shape)} and h {tuple(h.shape)} should be (batch, dim), "
            f"and decay {tuple(decay.shape)} the same or (dim,)"
        )
    dtype = h.dtype
    if not dtype.is_complex and (decay.is_complex() or drive.is_complex()):
        dtype = dtype.to_complex()
    return addcmul(drive.to(dtype), decay.to(dtype), h.to(dtype))
