"""The diagonal scan  h_t = decay_t * h_{t-1} + drive_t,  which most linear mixers rest on."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, addcmul, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.scan import native, reference
from statewise.ops.scan.torch import scan as parallel_scan

__all__ = ["TABLE", "scan", "scan_step"]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"native": native.scan, "torch": parallel_scan, "reference": reference.scan}


def scan(
    decay: Float[Tensor, "batch time dim"],
    drive: Float[Tensor, "batch time dim"],
    *,
    initial: Float[Tensor, "batch dim"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last, a fresh tensor.

    Args:
        decay: in [-1, 1]. Prefer float32 where it comes near one: bfloat16 has no number between
            0.996 and 1.
        drive: what is added; its dtype is the output's.
        initial: h before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, h_{t-1} counts as zero. A learned start s adds `decay * s` to the drive
            there.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    if decay.shape != drive.shape or decay.ndim != 3:
        raise ValueError(
            f"scan: decay {tuple(decay.shape)} and drive {tuple(drive.shape)} should both be "
            "(batch, time, dim)"
        )
    batch, time, dim = drive.shape
    storage = promote_types(decay.dtype, drive.dtype)
    work = promote_types(storage, float32)
    if initial is None:
        initial = drive.new_zeros(batch, dim, dtype=work)
    elif initial.shape != (batch, dim):
        raise ValueError(
            f"scan: initial {tuple(initial.shape)} should be (batch, dim) = {(batch, dim)}"
        )
    elif promote_types(initial.dtype, work) != work:
        storage = work = promote_types(initial.dtype, work)  # a wider state widens the work
    check_marks("scan", batch, time, reset, lengths)
    form = _FORMS[backends.choose("scan", TABLE, drive).backend]
    output, final = form(
        decay.to(storage), drive.to(storage), initial=initial.to(work), reset=reset, lengths=lengths
    )
    return output.to(drive.dtype), final


def scan_step(
    decay: Float[Tensor, "batch dim"],
    drive: Float[Tensor, "batch dim"],
    h: Float[Tensor, "batch dim"],
) -> Float[Tensor, "batch dim"]:
    """Return the next h, in the dtype of the h given: one step of `scan`."""
    return addcmul(drive.to(h.dtype), decay.to(h.dtype), h)
