"""Stabilized linear attention in C++: by chunks, as matrix products; few tokens one by one."""

from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor, bfloat16, float32, float64, is_grad_enabled

from statewise import backends
from statewise.ops.custom import core, fresh, native_op, rows
from statewise.ops.stabilized_attention.reference import State
from statewise.ops.stabilized_attention.torch import stabilized_linear_attention as in_torch

ONE_BY_ONE = 0
CHUNK = 64


def stabilized_linear_attention(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_input: Float[Tensor, "batch time heads"],
    log_forget: Float[Tensor, "batch time heads"],
    scale: float,
    eps: float,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], State]:
    """Return every output and the last (C, n, m)."""
    output, *final = _stabilized_attention(
        query, key, value, log_input, log_forget, *initial, reset, lengths, scale, eps
    )
    C, n, m = final
    return output, (C, n, m)


def steps(*tensors: Tensor) -> bool:
    """Return whether `step` may serve: (query, key, value, log_input, log_forget, C, n, m)."""
    query, key, value, *others = tensors
    stored, wide = query.dtype, float64 if query.dtype == float64 else float32
    return (
        backends.core is not None
        and stored in (float32, bfloat16, float64)
        and key.dtype == stored == value.dtype
        and all(x.dtype == wide and x.is_contiguous() for x in others)
        and not (is_grad_enabled() and any(x.requires_grad for x in tensors))
        and all(x.device.type == "cpu" for x in tensors)
        and backends.plain(tensors)
    )


def step(query, key, value, log_input, log_forget, state, scale, eps):
    """Return one output and the state after it, by the kernel itself."""
    output = fresh(value.shape, value)
    C, n, m = (fresh(x.shape, x) for x in state)
    kernel = partial(core().stabilized_attention_step, scale=scale, eps=eps)
    tensors = (rows(query), rows(key), rows(value), log_input, log_forget, *state, output, C, n, m)
    backends.run(kernel, *tensors)
    return output, (C, n, m)


def _allocate(inputs, keep):
    _, _, value, _, _, C, n, m, *_ = inputs
    numbers = 0
    if keep:
        batch, heads, keys, values = C.shape
        # Flat, because a compiler would take an axis of one chunk for one of always one.
        chunks = -(-value.shape[1] // CHUNK)
        numbers = batch * heads * chunks * (keys * values + (keys + 16) // 16 * 16)
    state = (fresh(x.shape, x) for x in (C, n, m))
    return fresh(value.shape, value), *state, fresh((numbers,), C)


def _arguments(inputs):
    *tensors, C, n, m, reset, lengths, _, _ = inputs
    return *map(rows, tensors), C.contiguous(), n.contiguous(), m.contiguous(), reset, lengths


def _forward(inputs, outputs):
    *_, scale, eps = inputs
    time = inputs[0].shape[1]
    *results, borders = outputs
    wanted = borders if borders.numel() else None
    chunk = CHUNK if wanted is not None or time > 8 else ONE_BY_ONE
    kernel = partial(core().stabilized_attention, scale=scale, eps=eps, chunk=chunk)
    backends.run(kernel, *_arguments(inputs), *results, wanted)


def _backward(inputs, outputs, grads, gradients):
    *_, scale, eps = inputs
    kernel = partial(core().stabilized_attention_backward, scale=scale, eps=eps, chunk=CHUNK)
    backends.run(
        kernel,
        *_arguments(inputs),
        *outputs[1:],
        rows(grads[0]),
        *(x.contiguous() for x in grads[1:]),
        *gradients,
    )


def _definition(query, key, value, log_input, log_forget, C, n, m, reset, lengths, scale, eps):
    output, final = in_torch(
        query,
        key,
        value,
        log_input=log_input,
        log_forget=log_forget,
        scale=scale,
        eps=eps,
        initial=(C, n, m),
        reset=reset,
        lengths=lengths,
    )
    return output, *final


_stabilized_attention = native_op(
    "stabilized_attention(Tensor query, Tensor key, Tensor value, Tensor log_input, "
    "Tensor log_forget, Tensor C, Tensor n, Tensor m, Tensor? reset, Tensor? lengths, "
    "float scale, float eps)",
    results=4,
    kept=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
