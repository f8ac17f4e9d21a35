"""The delta rule in C++: chunks of 16 tokens in the nearest caches, or token by token.

The backward pass recomputes each chunk from states that the forward pass kept every 64 tokens.
"""

from functools import partial

from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import backends
from statewise.ops.custom import core, fresh, fresh_like, native_op, rows
from statewise.ops.delta_rule.torch import delta_rule as definition

CHUNKWISE_FROM = 4
"""Tokens from which on chunks are faster than passing over the state for each."""


def delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"] | None,
    *,
    write: Float[Tensor, "batch time heads key"] | None = None,
    log_decay: Float[Tensor, "batch time heads *key"] | None,
    scale: float,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state; see `statewise.ops.delta_rule`.

    With `write`, which takes the place of `beta * key`, the key meets the state before its decay.
    """
    output, final = OP(query, key, write, value, beta, log_decay, initial, reset, lengths, scale)
    return output, final


def step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the output and the next state of one time; what does not fit is a ValueError."""
    output, after = fresh_like(value), fresh_like(state)
    kernel = partial(core().delta_rule_step, scale)
    backends.run(kernel, query, key, value, beta, log_decay, state.contiguous(), output, after)
    return output, after


def product_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the same of several corrections, an axis of key, value and beta after the batch."""
    if value.ndim != 4:
        raise ValueError("value should be (batch, steps, heads, value)")
    batch, _, *rest = value.shape
    output, after = fresh((batch, *rest), value), fresh_like(state)
    kernel = partial(core().delta_product_step, scale)
    backends.run(kernel, query, key, value, beta, log_decay, state.contiguous(), output, after)
    return output, after


def low_rank_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    read: Tensor,
    write: Tensor,
    log_decay: Tensor | None,
    state: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return the same where read and write make the transition, in one pass over the state."""
    output, after = fresh_like(value), fresh_like(state)
    kernel = partial(core().low_rank_delta_rule_step, scale)
    given = (query, key, value, read, write, log_decay, state.contiguous())
    backends.run(kernel, *given, output, after)
    return output, after


def _allocate(inputs, keep):
    query, _, _, value, _, _, initial, *_ = inputs
    batch, time, heads, width = query.shape
    segments = -(-time // core().delta_rule_segment) if keep else 0
    shape = (batch, heads, segments, width, value.shape[-1]) if keep else (0,)
    return fresh_like(value), fresh_like(initial), fresh(shape, initial)


def _forward(inputs, outputs):
    query, key, write, value, beta, log_decay, initial, reset, lengths, scale = inputs
    output, final, states = outputs
    # Chunks alone keep what gradients need; without gradients, few tokens are faster one by one.
    keep = states.ndim == 5
    chunkwise = keep or query.shape[1] >= CHUNKWISE_FROM
    backends.run(
        partial(core().delta_rule, chunkwise, scale),
        *_arrays(query, key, write, value, beta, log_decay),
        initial.contiguous(),
        reset,
        lengths,
        output,
        final,
        states if keep else None,
    )


def _backward(inputs, outputs, grads, gradients):
    *tensors, _, reset, lengths, scale = inputs
    grad_output, grad_final = grads
    backends.run(
        partial(core().delta_rule_backward, scale),
        *_arrays(*tensors),
        reset,
        lengths,
        outputs[2],
        rows(grad_output),
        grad_final.contiguous(),
        *gradients,
    )


def _arrays(*tensors):
    return [None if x is None else rows(x) for x in tensors]


def _definition(query, key, write, value, beta, log_decay, initial, reset, lengths, scale):
    return definition(
        query,
        key,
        value,
        beta,
        write=write,
        log_decay=log_decay,
        scale=scale,
        initial=initial,
        reset=reset,
        lengths=lengths,
    )


OP = native_op(
    "delta_rule(Tensor query, Tensor key, Tensor? write, Tensor value, Tensor? beta, "
    "Tensor? log_decay, Tensor initial, Tensor? reset, Tensor? lengths, float scale)",
    results=2,
    kept=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)
