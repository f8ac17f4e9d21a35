"""The selective scan in C++: states live in registers, and between chunks of time in memory."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, sym_max

from statewise import backends
from statewise.ops.custom import core, fresh, fresh_like, native_op, rows
from statewise.ops.selective_scan.torch import selective_scan as by_chunks


def selective_scan(
    x: Float[Tensor, "batch time dim"],
    step_size: Float[Tensor, "batch time dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch time groups state"],
    C: Float[Tensor, "batch time groups state"],
    *,
    skip: Float[Tensor, " dim"] | None = None,
    gate: Float[Tensor, "batch time dim"] | None = None,
    step_bias: Float[Tensor, " dim"] | None = None,
    initial: Float[Tensor, "batch dim state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim state"]]:
    """Return every y_t and the last h."""
    output, final = _scan(x, step_size, A, B, C, skip, gate, step_bias, initial, reset, lengths)
    return output, final


def selective_scan_step(
    x: Tensor,
    step_size: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    skip: Tensor | None,
    gate: Tensor | None,
    step_bias: Tensor | None,
    h: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return y and the next h, of which nothing is differentiated.

    What does not fit, or needs another layout or precision, is a ValueError.
    """
    output, final = fresh_like(x), fresh_like(h)
    kernel, inputs = core().selective_scan_step, (x, step_size, A, B, C, skip, gate, step_bias, h)
    backends.run(kernel, *inputs, output, final)
    return output, final


def _readable(inputs):
    x, step_size, A, B, C, skip, gate, step_bias, initial, *marks = inputs
    sequences = [None if v is None else rows(v) for v in (x, step_size, B, C, gate)]
    wide = [None if v is None else v.contiguous() for v in (A, skip, step_bias, initial)]
    x, step_size, B, C, gate = sequences
    A, skip, step_bias, initial = wide
    return x, step_size, A, B, C, skip, gate, step_bias, initial, *marks


def _allocate(inputs, keep):
    x, A, initial = inputs[0], inputs[2], inputs[8]
    (batch, time, dim), state = x.shape, A.shape[1]
    borders = _borders(time)
    # Two at least: an export takes a size of 0 or 1 for a constant, and with it the length.
    kept = sym_max(borders, 2) if keep else min(borders, 1)
    return (
        fresh_like(x),
        fresh_like(initial),
        fresh((batch, kept, state, dim), initial),
    )


def _borders(time):
    return (max(time, 1) - 1) // CHUNK


def _forward(inputs, outputs):
    backends.run(core().selective_scan, *_readable(inputs), *outputs)
    borders = _borders(inputs[0].shape[1])
    if outputs[2].shape[1] > borders:  # nothing reads these; an operator is to answer alike
        outputs[2][:, borders:].zero_()


def _backward(inputs, outputs, grads, gradients):
    backends.run(
        core().selective_scan_backward,
        *_readable(inputs),
        outputs[2],
        rows(grads[0]),
        grads[1].contiguous(),
        *gradients,
    )


def _definition(x, step_size, A, B, C, skip, gate, step_bias, initial, reset, lengths):
    return by_chunks(
        x,
        step_size,
        A,
        B,
        C,
        skip=skip,
        gate=gate,
        step_bias=step_bias,
        initial=initial,
        reset=reset,
        lengths=lengths,
    )


CHUNK = 64
"""Times between two states that are kept for the gradient, as in the core."""

_scan = native_op(
    "selective_scan(Tensor x, Tensor step_size, Tensor A, Tensor B, Tensor C, Tensor? skip, "
    "Tensor? gate, Tensor? step_bias, Tensor initial, Tensor? reset, Tensor? lengths)",
    results=2,
    kept=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
