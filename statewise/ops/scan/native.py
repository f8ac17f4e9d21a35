"""The diagonal scan in C++: one pass over time; gradients in one pass back from the output."""

from jaxtyping import Bool, Inexact, Int
from torch import Tensor, view_as_real

from statewise import backends
from statewise.ops.custom import core, fresh, native_op, rows
from statewise.ops.scan.torch import scan as parallel_scan


def scan(
    decay: Inexact[Tensor, "batch time dim"] | Inexact[Tensor, " dim"],
    drive: Inexact[Tensor, "batch time dim"],
    *,
    initial: Inexact[Tensor, "batch dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last."""
    output, final = _scan(decay, drive, initial, reset, lengths)
    return output, final


def _allocate(inputs, keep):
    _, drive, initial, _, _ = inputs
    return fresh(drive.shape, drive), fresh(initial.shape, initial)


def _forward(inputs, outputs):
    decay, drive, initial, *marks = inputs
    kernel = core().scan_complex if drive.is_complex() else core().scan
    given = (_real(rows(x)) for x in (decay, drive, initial.contiguous()))
    backends.run(kernel, *given, *marks, *map(_real, outputs))


def _backward(inputs, outputs, grads, gradients):
    decay, drive, initial, *marks = inputs
    kernel = core().scan_complex_backward if drive.is_complex() else core().scan_backward
    given = (_real(rows(x)) for x in (decay, outputs[0], initial.contiguous()))
    came = (_real(rows(grads[0])), _real(grads[1].contiguous()))
    backends.run(kernel, *given, *marks, *came, *map(_real, gradients))


def _real(x: Tensor) -> Tensor:
    """Return x with each complex number as two real ones along its last axis."""
    return view_as_real(x.resolve_conj()).flatten(-2) if x.is_complex() else x


def _definition(decay, drive, initial, reset, lengths):
    return parallel_scan(decay, drive, initial=initial, reset=reset, lengths=lengths)


_scan = native_op(
    "scan(Tensor decay, Tensor drive, Tensor initial, Tensor? reset, Tensor? lengths)",
    results=2,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
