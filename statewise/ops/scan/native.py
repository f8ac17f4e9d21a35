"""The diagonal scan in C++: one pass over time; gradients in one pass back from the output."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import backends
from statewise.ops.custom import core, fresh, native_op, rows
from statewise.ops.scan.torch import scan as parallel_scan


def scan(
    decay: Float[Tensor, "batch time dim"],
    drive: Float[Tensor, "batch time dim"],
    *,
    initial: Float[Tensor, "batch dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last."""
    output, final = _scan(decay, drive, initial, reset, lengths)
    return output, final


def _allocate(inputs, keep):
    _, drive, initial, _, _ = inputs
    return fresh(drive.shape, drive), fresh(initial.shape, initial)


def _forward(inputs, outputs):
    decay, drive, initial, *marks = inputs
    backends.run(core().scan, rows(decay), rows(drive), initial.contiguous(), *marks, *outputs)


def _backward(inputs, outputs, grads, gradients):
    decay, _, initial, *marks = inputs
    backends.run(
        core().scan_backward,
        rows(decay),
        outputs[0],
        initial.contiguous(),
        *marks,
        rows(grads[0]),
        grads[1].contiguous(),
        *gradients,
    )


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
