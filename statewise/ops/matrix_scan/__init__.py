"""The scan of vectors  h_t = A_t h_{t-1} + b_t  with square matrices A, block-diagonal or dense.

Rotations and other small blocks, transitions that the input chooses, Legendre memories: what a
diagonal cannot do, such as follow a finite automaton (Merrill, Petty and Sabharwal, "The Illusion
of State in State-Space Models", 2024, arXiv:2404.08819).
"""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, bfloat16, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.matrix_scan import native, reference
from statewise.ops.matrix_scan.torch import matrix_scan as by_halving

__all__ = ["TABLE", "matrix_scan", "matrix_scan_step"]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"native": native.matrix_scan, "torch": by_halving, "reference": reference.matrix_scan}


def matrix_scan(
    transition: Float[Tensor, "*rows n n"],
    drive: Float[Tensor, "batch time blocks n"],
    *,
    initial: Float[Tensor, "batch blocks n"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time blocks n"], Float[Tensor, "batch blocks n"]]:
    """Return every h_t of  h_t = transition_t h_{t-1} + drive_t,  and the last, a fresh tensor.

    Args:
        transition: (batch, time, blocks, n, n): a matrix for each block of the state, of which an
            axis batch or time of size 1 is shared by all rows or times; (batch, time, n, n) where
            there is one block, a dense transition; (blocks, n, n), the same for all rows and
            times. The gradient of a shared one is summed as it arises; that of one expanded to
            all times is as large as it looks, as autograd asks. Any n works; 2, 3, 4 and 8 have
            kernels of their own.
        drive: what is added; its dtype is the output's.
        initial: h before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, h_{t-1} counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Nothing bounds h where transitions expand: keep their norms at most one for long sequences.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    if drive.ndim != 4 or drive.shape[3] == 0:
        raise ValueError(
            f"matrix_scan: drive {tuple(drive.shape)} should be (batch, time, blocks, n)"
        )
    batch, time, blocks, n = drive.shape
    given = transition
    if transition.ndim == 3:
        transition = transition[None, None]
    elif transition.ndim == 4:
        transition = transition[:, :, None]
    if (
        transition.ndim != 5
        or transition.shape[0] not in (batch, 1)
        or transition.shape[1] not in (time, 1)
        or transition.shape[2:] != (blocks, n, n)
    ):
        raise ValueError(
            f"matrix_scan: transition {tuple(given.shape)} should be (batch, time, blocks, n, n) = "
            f"{(batch, time, blocks, n, n)} with batch or time 1 where they share it, "
            "(batch, time, n, n) for one block, or (blocks, n, n), to fit drive "
            f"{tuple(drive.shape)}"
        )
    storage = promote_types(transition.dtype, drive.dtype)
    work = promote_types(storage, float32)
    if initial is None:
        initial = drive.new_zeros(batch, blocks, n, dtype=work)
    elif initial.shape != (batch, blocks, n):
        raise ValueError(
            f"matrix_scan: initial {tuple(initial.shape)} should be (batch, blocks, n) = "
            f"{(batch, blocks, n)}"
        )
    elif promote_types(initial.dtype, work) != work:
        storage = work = promote_types(initial.dtype, work)  # a wider state widens the work
    check_marks("matrix_scan", batch, time, reset, lengths)
    form = _FORMS[backends.choose("matrix_scan", TABLE, drive).backend]
    output, final = form(
        transition.to(storage),
        drive.to(storage),
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(drive.dtype), final


def matrix_scan_step(
    transition: Float[Tensor, "*rows n n"],
    drive: Float[Tensor, "batch blocks n"],
    h: Float[Tensor, "batch blocks n"],
) -> Float[Tensor, "batch blocks n"]:
    """Return the next h, in the dtype of the h given: one step of `matrix_scan`.

    Args:
        transition: (batch, blocks, n, n), or (blocks, n, n) for all rows.
        drive: what is added.
        h: the state before.

    Raises:
        ValueError: if shapes do not fit together.
    """
    batch, blocks, n = h.shape
    if drive.shape != h.shape or transition.shape not in (
        (batch, blocks, n, n),
        (blocks, n, n),
    ):
        raise ValueError(
            f"matrix_scan_step: drive {tuple(drive.shape)} and h {tuple(h.shape)} should be "
            f"(batch, blocks, n), and transition {tuple(transition.shape)} (batch, blocks, n, n) "
            "or (blocks, n, n)"
        )
    dtype = h.dtype
    if transition.dtype != dtype:
        transition = transition.to(dtype)
    if drive.dtype != dtype:
        drive = drive.to(dtype)
    if dtype != bfloat16 and backends.direct("matrix_scan", TABLE, (h, drive, transition)):
        return native.step(transition, drive, h)
    return (transition @ h[..., None])[..., 0] + drive
