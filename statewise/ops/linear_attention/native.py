"""Linear attention in C++: a block of tokens at a time, backward from the states between them."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from collections.abc import Sequence
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, empty, get_num_threads
from torch import sum as sum_of

from statewise import backends
from statewise.ops.custom import Results, core, fresh, native_op, rows
from statewise.ops.linear_attention.torch import linear_attention as chunkwise

BLOCK = 64
"""Tokens from one kept state to the next."""
BLOCK_PER_VALUE = 8
"""The same with a decay per key and value, a block of which has to stay in the cache."""
CHUNKS_FROM_TIME, CHUNKS_FROM_SIZE = 64, 64
"""The least time, and the least key and value, of what is computed by chunks: see `by_chunks`."""


def linear_attention(
    query: Float[Tensor, "batch time groups key"],
    key: Float[Tensor, "batch time groups key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads *axes"] | None = None,
    bonus: Float[Tensor, "heads key"] | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every y_t of  S_t = decay_t * S_{t-1} + k_t v_t^T,  y_t = S_t^T q_t,  and the last S.

    With a bonus u,  y_t = (S_{t-1} + diag(u) k_t v_t^T)^T q_t.
    """
    output, final = _op(query, key, value, log_decay, bonus, initial, reset, lengths, scale)
    return output, final


def _definition(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    initial: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
    scale: float,
) -> Results:
    return chunkwise(
        query,
        key,
        value,
        log_decay=log_decay,
        bonus=bonus,
        scale=scale,
        initial=initial,
        reset=reset,
        lengths=lengths,
    )


def _block(log_decay: Tensor | None) -> int:
    return BLOCK if log_decay is None or log_decay.ndim < 5 else BLOCK_PER_VALUE


def by_chunks(state: Sequence[int], time: int, log_decay: Tensor | None) -> bool:
    """Return whether the kernel goes by chunks of 16 tokens, or token by token.

    Either form takes any size but a decay per key and value, which has no chunks. Milliseconds of
    one thread, AVX-512, float32, forward and backward, both forms in one run on a busy machine:

        (batch, time, heads, key, value)  decay     chunks         tokens
        (4, 1024, 8, 64, 64)              head    9.5 + 22.2     8.2 + 30.0
        (4, 1024, 8, 64, 64)              key     9.8 + 24.7    10.3 + 35.5
        (1, 4096, 8, 128, 128)            head   21.2 + 57.4    23.3 + 73.0
        (1, 4096, 8, 128, 128)            key    28.4 + 83.4    24.0 + 85.7

    Forward they are about equal, backward chunks win. Smaller sizes and shorter times were not
    measured: there it goes token by token.
    """
    return (
        (log_decay is None or log_decay.ndim < 5)
        and time >= CHUNKS_FROM_TIME
        and min(state[-2:]) >= CHUNKS_FROM_SIZE
    )


def _allocate(inputs: Sequence[Any], keep: bool) -> Results:
    value, log_decay, initial = inputs[2], inputs[3], inputs[5]
    output, final = fresh(value.shape, value), fresh(initial.shape, initial)
    if not keep:
        return output, final, empty(0)
    block = _block(log_decay)
    # Without axes: a trace would take one of a single block to be always so.
    kept = initial.numel() * ((value.shape[1] + block - 1) // block)
    return output, final, empty(kept, dtype=initial.dtype)


def _forward(inputs: Sequence[Any], outputs: Results) -> None:
    *given, initial, reset, lengths, scale = inputs
    output, final, states = outputs
    kept = states if len(states) else None
    _run(
        core().linear_attention,
        (*_readable(given), initial.contiguous(), reset, lengths, output, final, kept),
        scale,
        _block(given[3]),
        by_chunks(initial.shape, given[2].shape[1], given[3]),
    )


def _backward(
    inputs: Sequence[Any],
    outputs: Results,
    grads: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> None:
    *given, initial, reset, lengths, scale = inputs
    query, _, value, log_decay, bonus = given
    for_query, for_key, for_value, for_decay, for_bonus, for_initial = gradients
    groups, heads = query.shape[2], value.shape[2]
    shape = (*value.shape[:3], query.shape[3])
    shared = groups != heads
    by_head = [fresh(shape, query), fresh(shape, query)] if shared else [for_query, for_key]
    by_row = None if bonus is None else fresh((len(value), *bonus.shape), bonus)
    _run(
        core().linear_attention_backward,
        (
            *_readable(given),
            reset,
            lengths,
            outputs[2],
            rows(grads[0]),
            grads[1].contiguous(),
            *by_head,
            for_value,
            for_decay if for_decay is None or for_decay.ndim > 3 else for_decay[..., None],
            by_row,
            for_initial,
        ),
        scale,
        _block(log_decay),
        by_chunks(initial.shape, value.shape[1], log_decay),
    )
    for each, gradient in zip(by_head, (for_query, for_key), strict=True):
        if shared and each is not None:
            sum_of(each.unflatten(2, (groups, heads // groups)), 3, out=gradient)
    if by_row is not None:
        sum_of(by_row, 0, out=for_bonus)


def _readable(given: Sequence[Any]) -> list[Tensor | None]:
    """Return queries, keys, values, decays and the bonus with strides that kernels can read."""
    query, key, value, log_decay, bonus = given
    if log_decay is not None:
        log_decay = log_decay[..., None] if log_decay.ndim == 3 else rows(log_decay)
    return [
        rows(query),
        rows(key),
        rows(value),
        log_decay,
        None if bonus is None else bonus.contiguous(),
    ]


def _run(kernel: Any, tensors: Sequence[Tensor | None], *numbers: float | int) -> None:
    arrays = [None if x is None else backends.readable(x) for x in tensors]
    kernel(*arrays, *numbers, get_num_threads())


_op = native_op(
    "linear_attention(Tensor query, Tensor key, Tensor value, Tensor? log_decay, Tensor? bonus, "
    "Tensor initial, Tensor? reset, Tensor? lengths, float scale)",
    results=2,
    kept=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)


def step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return y and the next S; the kernel itself refuses, as a ValueError, what does not fit."""
    output, after = empty(value.shape, dtype=value.dtype), empty(state.shape, dtype=state.dtype)
    _run(
        core().linear_attention_step,
        (
            rows(query),
            rows(key),
            rows(value),
            None if log_decay is None else rows(log_decay),
            None if bonus is None else bonus.contiguous(),
            state.contiguous(),
            output,
            after,
        ),
        scale,
    )
    return output, after


def normalized_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: tuple[Tensor, Tensor],
    log_decay: Tensor | None,
    epsilon: float,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return y divided by the sum of its weights, and the next S and n; refused as in `step`."""
    matrix, sums = state
    wide, dtype = matrix.dtype, value.dtype
    query, key, value = (x if x.dtype == wide else x.to(wide) for x in (query, key, value))
    output = empty(value.shape, dtype=wide)
    after, sums_after = empty(matrix.shape, dtype=wide), empty(sums.shape, dtype=wide)
    _run(
        core().normalized_linear_attention_step,
        (
            rows(query),
            rows(key),
            rows(value),
            None if log_decay is None else rows(log_decay),
            matrix.contiguous(),
            sums.contiguous(),
            output,
            after,
            sums_after,
        ),
        epsilon,
    )
    return output if wide == dtype else output.to(dtype), (after, sums_after)
