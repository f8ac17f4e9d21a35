"""The public functions of linear attention, and the table that chooses a backend for them."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, einsum, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.linear_attention import native, reference
from statewise.ops.linear_attention.reference import decays, shared
from statewise.ops.linear_attention.torch import linear_attention as chunkwise

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {
    "native": native.linear_attention,
    "torch": chunkwise,
    "reference": reference.linear_attention,
}


def linear_attention(
    query: Float[Tensor, "batch time groups key"],
    key: Float[Tensor, "batch time groups key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads *axes"] | None = None,
    bonus: Float[Tensor, "heads key"] | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every  y_t = scale * S_t^T q_t  and the last  S_t = decay_t * S_{t-1} + k_t v_t^T.

    The decay is none (Katharopoulos et al., 2020), one per head (RetNet, Mamba-2, simple GLA), one
    per key (GLA, HGRN2) or one per key and value. With a bonus u the state is read before it
    decays, and the token itself enters by u:  y_t = scale * (S_{t-1} + diag(u) k_t v_t^T)^T q_t
    (RWKV-5, RWKV-6). Inputs are read as they are strided: a decay that is constant in time may be
    expanded, and keys shared by heads are given once.

    Args:
        query: what the state is read by. `groups` divides `heads`: head h reads group
            h // (heads // groups), as in Mamba-2. Most papers pass `scale=key**-0.5`; Mamba-2, RWKV
            and normalized sums do not.
        key: where it is written, as many as queries.
        value: what is written; its dtype is the output's.
        log_decay: at most 0, (batch, time, heads), the same with key, or with key and value as
            further axes. Minus infinity forgets the state; its gradient is then zero. Above 0 the
            state grows, without a bound but that of the numbers: exp(88) is where float32 ends.
            Bfloat16 keeps three digits of a rate of forgetting: prefer float32.
        bonus: how much the token itself counts before it is written.
        scale: what the output is multiplied by.
        initial: S before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, S_{t-1} counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    name = "linear_attention"
    _check(name, query, key, value, log_decay, bonus, axes="batch, time, ")
    batch, time, heads, width = value.shape
    given = [x for x in (query, key, value) if x.dtype != value.dtype]
    storage = value.dtype
    for x in given:
        storage = promote_types(storage, x.dtype)
    for x in (log_decay, bonus):
        if x is not None and promote_types(x.dtype, float32) != float32:
            storage = promote_types(storage, x.dtype)
    work = promote_types(storage, float32)
    shape = (batch, heads, query.shape[-1], width)
    if initial is None:
        initial = value.new_zeros(shape, dtype=work)
    elif initial.shape != shape:
        raise ValueError(
            f"{name}: initial {tuple(initial.shape)} should be (batch, heads, key, value) = {shape}"
        )
    elif promote_types(initial.dtype, work) != work:
        storage = work = promote_types(initial.dtype, work)  # a wider state widens the work
    check_marks(name, batch, time, reset, lengths)
    form = _FORMS[backends.choose(name, TABLE, value).backend]
    output, final = form(
        query.to(storage),
        key.to(storage),
        value.to(storage),
        log_decay=None if log_decay is None else log_decay.to(work),
        bonus=None if bonus is None else bonus.to(work),
        scale=scale,
        initial=initial.to(work),
        reset=reset,
        lengths=lengths,
    )
    return output.to(value.dtype), final


def linear_attention_step(
    query: Float[Tensor, "batch groups key"],
    key: Float[Tensor, "batch groups key"],
    value: Float[Tensor, "batch heads value"],
    state: Float[Tensor, "batch heads key value"],
    *,
    log_decay: Float[Tensor, "batch heads *axes"] | None = None,
    bonus: Float[Tensor, "heads key"] | None = None,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "batch heads value"], Float[Tensor, "batch heads key value"]]:
    """Return y and the next S, in the dtype of the S given: one step of `linear_attention`.

    Raises:
        ValueError: if shapes do not fit together.
    """
    given = (query, key, value, state, log_decay, bonus)
    if backends.direct("linear_attention", TABLE, given):
        try:
            return native.step(*given, scale)
        except ValueError:
            pass  # what does not fit is said better below
    name = "linear_attention_step"
    _check(name, query, key, value, log_decay, bonus, axes="batch, ")
    shape = (*value.shape[:2], key.shape[-1], value.shape[-1])
    if state.shape != shape:
        raise ValueError(
            f"{name}: state {tuple(state.shape)} should be (batch, heads, key, value) = {shape}"
        )
    q, k, v = (x.to(state.dtype) for x in (query, key, value))
    q, k = (shared(x[:, None], v.shape[1])[:, 0] for x in (q, k))
    written = k[..., :, None] * v[..., None, :]
    after = state + written
    if log_decay is not None:
        after = decays(log_decay.to(state.dtype)) * state + written
    read = after if bonus is None else state + bonus[..., None].to(state.dtype) * written
    output = einsum("bhk,bhkv->bhv", q, read) * scale
    return output.to(value.dtype), after


def _check(
    name: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    bonus: Tensor | None,
    *,
    axes: str,
) -> None:
    """Refuse shapes that do not fit together, by a ValueError that says which."""
    rank, where = value.ndim, axes
    if query.shape != key.shape or query.ndim != rank or query.shape[:-2] != value.shape[:-2]:
        raise ValueError(
            f"{name}: query {tuple(query.shape)} and key {tuple(key.shape)} should both be "
            f"({where}heads, key), and value {tuple(value.shape)} ({where}heads, value)"
        )
    heads, groups = value.shape[-2], query.shape[-2]
    if heads != groups and (groups == 0 or heads % groups):
        raise ValueError(
            f"{name}: the {heads} heads of value should be a multiple of the {groups} of query and "
            "key"
        )
    whole = (*value.shape[:-1], query.shape[-1], value.shape[-1])
    if log_decay is not None and log_decay.shape not in (whole[:-2], whole[:-1], whole):
        raise ValueError(
            f"{name}: log_decay {tuple(log_decay.shape)} should be ({where}heads), "
            f"({where}heads, key) or ({where}heads, key, value) = {whole}"
        )
    if bonus is not None and bonus.shape != whole[-3:-1]:
        raise ValueError(
            f"{name}: bonus {tuple(bonus.shape)} should be (heads, key) = {whole[-3:-1]}"
        )
