"""Stabilized linear attention in C++: by chunks, as matrix products; few tokens one by one."""

from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor, get_num_threads

from statewise import backends
from statewise.ops.custom import core, fresh, fresh_like, native_op, rows
from statewise.ops.stabilized_attention.reference import State
from statewise.ops.stabilized_attention.torch import stabilized_linear_attention as in_torch

ONE_BY_ONE = 0
CHUNK = 64
SHARED = 1 << 18
"""Numbers of the state from which a step is worth a second thread."""


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


def step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_input: Tensor,
    log_forget: Tensor,
    C: Tensor,
    n: Tensor,
    m: Tensor,
    scale: float,
    eps: float,
) -> tuple[Tensor, State]:
    """Return one output and the state after it, of which nothing is differentiated.

    What does not fit, or needs another layout or precision, is a ValueError.
    """
    output = fresh_like(value)
    after = (
        fresh_like(C),
        fresh_like(n),
        fresh_like(m),
    )
    arrays = [
        backends.readable(x)
        for x in (query, key, value, log_input, log_forget, C, n, m, output, *after)
    ]
    threads = get_num_threads() if C.numel() > SHARED else 1
    core().stabilized_attention_step(*arrays, threads, scale, eps)
    return output, after


def _allocate(inputs, keep):
    _, _, value, _, _, C, n, m, *_ = inputs
    numbers = 0
    if keep:
        batch, heads, keys, values = C.shape
        # Flat, because a compiler would take an axis of one chunk for one of always one.
        chunks = -(-value.shape[1] // CHUNK)
        numbers = batch * heads * chunks * (keys * values + (keys + 16) // 16 * 16)
    state = (fresh_like(x) for x in (C, n, m))
    return fresh_like(value), *state, fresh((numbers,), C)


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
