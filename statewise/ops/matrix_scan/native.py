"""The matrix scan in C++: one pass over time; gradients in one pass back from the output."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import backends
from statewise.ops.custom import core, fresh_like, native_op
from statewise.ops.matrix_scan.torch import matrix_scan as by_halving


def matrix_scan(
    transition: Float[Tensor, "rows times blocks n n"],
    drive: Float[Tensor, "batch time blocks n"],
    *,
    initial: Float[Tensor, "batch blocks n"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time blocks n"], Float[Tensor, "batch blocks n"]]:
    """Return every h_t of  h_t = transition_t h_{t-1} + drive_t,  and the last."""
    if transition.shape[1] != 1 and transition.shape[0] < drive.shape[0]:
        # Of a transition that rows share and times do not, each row has a gradient of its own.
        transition = transition.expand(len(drive), -1, -1, -1, -1)
    output, final = _scan(transition, drive, initial, reset, lengths)
    return output, final


def _packed(x: Tensor, axes: int) -> Tensor:
    """Return x with its last axes without gaps, which is what the kernels ask for."""
    expected = 1
    for size, stride in zip(x.shape[: -axes - 1 : -1], x.stride()[: -axes - 1 : -1], strict=True):
        if stride != expected and size != 1:
            return x.contiguous()
        expected *= size
    return x


def _allocate(inputs, keep):
    _, drive, initial, _, _ = inputs
    return fresh_like(drive), fresh_like(initial)


def _forward(inputs, outputs):
    transition, drive, initial, *marks = inputs
    given = (_packed(transition, 3), _packed(drive, 2), initial.contiguous())
    backends.run(core().matrix_scan, *given, *marks, *outputs)


def _backward(inputs, outputs, grads, gradients):
    transition, _, initial, *marks = inputs
    backends.run(
        core().matrix_scan_backward,
        _packed(transition, 3),
        outputs[0],
        initial.contiguous(),
        *marks,
        _packed(grads[0], 2),
        grads[1].contiguous(),
        *gradients,
    )


def _definition(transition, drive, initial, reset, lengths):
    return by_halving(transition, drive, initial=initial, reset=reset, lengths=lengths)


_scan = native_op(
    "matrix_scan(Tensor transition, Tensor drive, Tensor initial, Tensor? reset, Tensor? lengths)",
    results=2,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)


def step(transition: Tensor, drive: Tensor, h: Tensor) -> Tensor:
    """Return transition h + drive for plain tensors of one dtype: one call of the kernel."""
    after = fresh_like(h)
    backends.run(
        core().matrix_scan_step, _packed(transition, 3), drive.contiguous(), h.contiguous(), after
    )
    return after
