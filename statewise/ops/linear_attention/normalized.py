"""Linear attention divided by the sum of its weights (Katharopoulos et al., 2020, section 3.3)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor, cat, float32, promote_types, where

from statewise import backends
from statewise.ops.linear_attention import native
from statewise.ops.linear_attention.attention import TABLE, linear_attention, linear_attention_step

Sums = tuple[Float[Tensor, "batch heads key value"], Float[Tensor, "batch heads key"]]


def normalized_linear_attention(
    query: Float[Tensor, "batch time groups key"],
    key: Float[Tensor, "batch time groups key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads *axes"] | None = None,
    epsilon: float = 1e-6,
    initial: Sums | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Sums]:
    """Return every  y_t = S_t^T q_t / (n_t . q_t),  and the last (S, n).

    S_t = decay_t * S_{t-1} + k_t v_t^T  and  n_t = decay_t * n_{t-1} + k_t:  with positive features
    as queries and keys, y_t is an average of the values so far. Where |n . q| is less than
    `epsilon`, the divisor is `epsilon` with the sign of n . q (plus at zero): features that vanish
    give zero and not NaN, and the divisor has no gradient there. Features of both signs let n . q
    pass through zero, where y is large and changes sign.

    Args:
        query: features of the queries, as in `linear_attention`.
        key: features of the keys.
        value: what is averaged; its dtype is the output's.
        log_decay: at most 0, (batch, time, heads) or the same with key as a further axis.
        epsilon: the least a divisor may be in size, more than zero.
        initial: (S, n) before the first input; zeros if absent. Arithmetic is in its dtype, float32
            or wider.
        reset: where true, S_{t-1} and n_{t-1} count as zero.
        lengths: from 0 to time; beyond a row's length the output is zero and nothing is read.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    name = "normalized_linear_attention"
    _check(name, log_decay, 4, epsilon)
    wide = promote_types(value.dtype, float32)
    # The two sums are rounded once, when they have been divided.
    extended = cat([value.to(wide), value.new_ones((*value.shape[:-1], 1), dtype=wide)], -1)
    output, final = linear_attention(
        query,
        key,
        extended,
        log_decay=log_decay,
        initial=None if initial is None else _joined(name, initial),
        reset=reset,
        lengths=lengths,
    )
    return _divided(output, epsilon).to(value.dtype), _parted(final)


def normalized_linear_attention_step(
    query: Float[Tensor, "batch groups key"],
    key: Float[Tensor, "batch groups key"],
    value: Float[Tensor, "batch heads value"],
    state: Sums,
    *,
    log_decay: Float[Tensor, "batch heads *axes"] | None = None,
    epsilon: float = 1e-6,
) -> tuple[Float[Tensor, "batch heads value"], Sums]:
    """Return y and the next (S, n): one step of `normalized_linear_attention`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    name = "normalized_linear_attention_step"
    _check(name, log_decay, 3, epsilon)
    if backends.direct(name, TABLE, (query, key, value, log_decay, *state)):
        try:
            return native.normalized_step(query, key, value, state, log_decay, epsilon)
        except ValueError:
            pass  # what does not fit is said better below
    joined = _joined(name, state)
    wide = value.to(joined.dtype)
    extended = cat([wide, wide.new_ones((*wide.shape[:-1], 1))], -1)
    output, after = linear_attention_step(query, key, extended, joined, log_decay=log_decay)
    return _divided(output, epsilon).to(value.dtype), _parted(after)


def _check(name: str, log_decay: Tensor | None, most: int, epsilon: float) -> None:
    if log_decay is not None and log_decay.ndim > most:
        raise ValueError(
            f"{name}: log_decay {tuple(log_decay.shape)} should be one per head or per key, which "
            "both sums share"
        )
    if not epsilon > 0:
        raise ValueError(f"{name}: epsilon {epsilon} should be more than zero")


def _joined(name: str, sums: tuple[Tensor, Tensor]) -> Tensor:
    matrix, vector = sums
    if matrix.shape[:-1] != vector.shape:
        raise ValueError(
            f"{name}: the state {tuple(matrix.shape)} and {tuple(vector.shape)} should be "
            "(batch, heads, key, value) and (batch, heads, key)"
        )
    return cat([matrix, vector[..., None]], -1)


def _parted(joined: Tensor) -> tuple[Tensor, Tensor]:
    return joined[..., :-1].contiguous(), joined[..., -1].contiguous()


def _divided(sums: Tensor, epsilon: float) -> Tensor:
    divisor = sums[..., -1:]
    least = where(divisor < 0, -epsilon, epsilon)
    return sums[..., :-1] / where(divisor.abs() < epsilon, least, divisor)
