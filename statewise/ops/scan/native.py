"""The diagonal scan in C++: one pass over time; gradients in one pass back from the output."""

from jaxtyping import Bool, Float, Int
from torch import (
    Tensor,
    arange,
    cat,
    contiguous_format,
    empty,
    empty_like,
    int64,
    is_grad_enabled,
    library,
    where,
    zeros_like,
)

from statewise import backends
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
    if lengths is not None:
        lengths = lengths.to(int64).contiguous()
    arguments = (decay, drive, initial, reset, lengths)
    if is_grad_enabled() and any(x is not None and x.requires_grad for x in arguments):
        return _scan(*arguments)
    # A custom op costs twenty times what the call itself does.
    return _forward(*arguments) if backends.plain(arguments) else _scan(*arguments)


def _forward(
    decay: Tensor, drive: Tensor, initial: Tensor, reset: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    output = empty(drive.shape, dtype=drive.dtype)
    final = empty(initial.shape, dtype=initial.dtype)
    state = initial.contiguous()
    backends.run(_core().scan, _rows(decay), _rows(drive), state, reset, lengths, output, final)
    return output, final


def _backward(
    decay: Tensor,
    output: Tensor,
    initial: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
    grad_output: Tensor,
    grad_final: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    grads = empty(decay.shape, dtype=decay.dtype), empty(decay.shape, dtype=decay.dtype)
    grad_initial = empty(initial.shape, dtype=initial.dtype)
    backends.run(
        _core().scan_backward,
        _rows(decay),
        _rows(output),
        initial.contiguous(),
        reset,
        lengths,
        _rows(grad_output),
        grad_final.contiguous(),
        *grads,
        grad_initial,
    )
    return *grads, grad_initial


def _core():
    if backends.core is None:
        raise RuntimeError(f"the native core is missing, because {backends.core_missing}")
    return backends.core


def _rows(x: Tensor) -> Tensor:
    """Return x with its last axis contiguous, which is all the kernels ask for."""
    return x if x.stride(-1) == 1 else x.contiguous()


_scan = library.custom_op("statewise::scan", _forward, mutates_args=(), device_types="cpu")
_scan_backward = library.custom_op(
    "statewise::scan_backward", _backward, mutates_args=(), device_types="cpu"
)


@_scan.register_fake
def _(decay, drive, initial, reset, lengths):
    return empty_like(drive, memory_format=contiguous_format), empty_like(
        initial, memory_format=contiguous_format
    )


@_scan_backward.register_fake
def _(decay, output, initial, reset, lengths, grad_output, grad_final):
    return tuple(empty_like(x, memory_format=contiguous_format) for x in (decay, decay, initial))


def _save(ctx, inputs, output):
    decay, _, initial, reset, lengths = inputs
    ctx.save_for_backward(decay, output[0], initial, reset, lengths)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, grad_output, grad_final):
    decay, output, initial, reset, lengths = ctx.saved_tensors
    if grad_output is None:
        grad_output = output.new_zeros(()).expand_as(output)
    if grad_final is None:
        grad_final = zeros_like(initial)
    arguments = (decay, output, initial, reset, lengths, grad_output, grad_final)
    if is_grad_enabled() or backends.transformed():
        grads = _adjoint(*arguments)
    elif backends.plain(arguments):
        grads = _backward(*arguments)
    else:
        grads = _scan_backward(*arguments)
    return *grads, None, None


_scan.register_autograd(_differentiate, setup_context=_save)


def _adjoint(
    decay: Tensor,
    output: Tensor,
    initial: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
    grad_output: Tensor,
    grad_final: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute what `_backward` does in torch operations, which can be differentiated again.

    The gradient g_t of h_t is itself a scan, back in time from grad_final:
    g_t = grad_output_t + decay_{t+1} g_{t+1},  where a reset at t + 1 hides g_{t+1}.
    """
    time, stored = decay.shape[1], decay.dtype
    if time == 0:
        return zeros_like(decay), zeros_like(decay), grad_final.clone()
    decay, output, grad_output = (x.to(initial.dtype) for x in (decay, output, grad_output))
    real = None
    if lengths is not None:
        real = (arange(time) < lengths[:, None])[..., None]
        decay, grad_output = where(real, decay, 1), where(real, grad_output, 0)
        reset = None if reset is None else reset & real[..., 0]
    # Shifted by one in time, the decay of the last step is never used: grad_final enters there.
    shifted = cat([decay[:, 1:], decay.new_ones(len(decay), 1, decay.shape[2])], 1)
    stops = None
    if reset is not None:
        stops = cat([reset[:, 1:], zeros_like(reset[:, :1])], 1).flip(1)
    g, _ = parallel_scan(shifted.flip(1), grad_output.flip(1), initial=grad_final, reset=stops)
    g = g.flip(1)
    before = cat([initial[:, None], output[:, :-1]], 1)
    grad_initial = decay[:, 0] * g[:, 0]
    if reset is not None:
        before = where(reset[..., None], 0, before)
        grad_initial = where(reset[:, :1], 0, grad_initial)
    grad_decay, grad_drive = g * before, g
    if real is not None:
        grad_decay, grad_drive = where(real, grad_decay, 0), where(real, g, 0)
    return grad_decay.to(stored), grad_drive.to(stored), grad_initial
