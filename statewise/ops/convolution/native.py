"""The short convolution in C++: one pass over time, and one back for the gradients.

The gradients of weight and bias are summed along each row, then over the rows in their order.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import backends
from statewise.ops.convolution.torch import short_convolution as by_shifts
from statewise.ops.custom import core, fresh_like, native_op, rows


def short_convolution(
    x: Float[Tensor, "batch time dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    *,
    initial: Float[Tensor, "batch past dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return the output at every time, and the last width - 1 inputs."""
    output, final = _convolution(x, weight, bias, initial, reset, lengths)
    return output, final


def step(x: Tensor, weight: Tensor, bias: Tensor | None, past: Tensor) -> tuple[Tensor, Tensor]:
    """Return one output and the last width - 1 inputs, of plain tensors of one dtype."""
    output, after = fresh_like(x), fresh_like(past)
    bias = None if bias is None else bias.contiguous()
    given = (rows(x), weight.contiguous(), bias, past.contiguous())
    backends.run(core().convolution_step, *given, output, after)
    return output, after


def long_step(x: Tensor, kernel: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for a kernel whose present number is the first."""
    output, after = fresh_like(x), fresh_like(past)
    if kernel.stride(0) != 1:
        kernel = kernel.contiguous()
    backends.run(core().long_convolution_step, rows(x), kernel, past.contiguous(), output, after)
    return output, after


def diagonal_step(
    x: Tensor, decay: Tensor, write: Tensor, read: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """Return one output and the next h; what does not fit is a ValueError."""
    output, after = fresh_like(x), fresh_like(h)
    given = [y.resolve_conj().contiguous() for y in (decay, write, read, h)]
    backends.run(core().diagonal_convolution_step, rows(x), *given, output, after)
    return output, after


def _allocate(inputs, keep):
    x, _, _, initial, _, _ = inputs
    return fresh_like(x), fresh_like(initial)


def _forward(inputs, outputs):
    x, weight, bias, initial, *marks = inputs
    bias = None if bias is None else bias.contiguous()
    given = (rows(x), weight.contiguous(), bias, initial.contiguous())
    backends.run(core().convolution, *given, *marks, *outputs)


def _backward(inputs, outputs, grads, gradients):
    x, weight, _, initial, *marks = inputs
    backends.run(
        core().convolution_backward,
        rows(x),
        weight.contiguous(),
        initial.contiguous(),
        *marks,
        rows(grads[0]),
        grads[1].contiguous(),
        *gradients,
    )


def _definition(x, weight, bias, initial, reset, lengths):
    wide = x.to(initial.dtype)
    output, final = by_shifts(wide, weight, bias, initial=initial, reset=reset, lengths=lengths)
    return output.to(x.dtype), final


_convolution = native_op(
    "convolution(Tensor x, Tensor weight, Tensor? bias, Tensor initial, Tensor? reset, "
    "Tensor? lengths)",
    results=2,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
