"""The delta rule: a matrix that corrects what it holds for a key, rather than adding to it.

    S_t = (I - beta_t k_t k_t^T) diag(exp(log_decay_t)) S_{t-1} + beta_t k_t v_t^T
    output_t = scale * S_t^T query_t

DeltaNet (Yang et al., 2024, arXiv:2406.06484) without decay; Gated DeltaNet (Yang et al., 2024,
arXiv:2412.06464) with one a head, KDA (Kimi Linear, 2025, arXiv:2510.26692) with one a key. The
decay comes first, then the correction.

The eigenvalue of the correction along k is 1 - beta |k|^2: with |k| = 1, which is left to the
caller, beta in [0, 1] forgets, and up to 2 also reflects; where beta |k|^2 > 2 the state diverges.
"""

from collections.abc import Callable

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from jaxtyping import Bool, Float, Int
from torch import Tensor, dtype, float32, promote_types, stack, zeros_like

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.delta_rule import native, reference
from statewise.ops.delta_rule.torch import delta_rule as chunkwise

__all__ = [
    "TABLE",
    "delta_product",
    "delta_product_step",
    "delta_rule",
    "delta_rule_step",
    "low_rank_delta_rule",
    "low_rank_delta_rule_step",
]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {"native": native.delta_rule, "torch": chunkwise}


def delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"],
    *,
    log_decay: Float[Tensor, "batch time heads"]
    | Float[Tensor, "batch time heads key"]
    | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every scale * S_t^T query_t, and the last S, a fresh tensor.

    S_t = (I - beta_t k_t k_t^T) diag(exp(log_decay_t)) S_{t-1} + beta_t k_t v_t^T

    Args:
        query: as it is; most models normalize it as they do the key.
        key: of norm one, or beta |key|^2 within [0, 2]; it is not normalized here.
        value: what the state should hold for the key; its dtype is the output's.
        beta: in [0, 2]: how much of what the state holds for the key is replaced. Zero leaves the
            state alone, one replaces, two reflects.
        log_decay: at most 0, minus infinity included; one number a head (Gated DeltaNet) or one a
            key (KDA). None does not decay.
        scale: of the output, usually key ** -0.5.
        initial: S before the first input; zeros if absent. Arithmetic is in its dtype, float32 or
            wider.
        reset: where true, S_{t-1} counts as zero.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    _check("delta_rule", query, key, value, beta=beta, log_decay=log_decay, initial=initial)
    check_marks("delta_rule", query.shape[0], query.shape[1], reset, lengths)
    storage, work, initial = _precision(query, key, value, (beta, log_decay), initial)
    choice = backends.choose("delta_rule", TABLE, value.to(storage)).backend
    form = reference.delta_rule if choice == "reference" else _FORMS[choice]
    output, final = form(
        query.to(storage),
        key.to(storage),
        value.to(storage),
        beta.to(work),
        log_decay=None if log_decay is None else log_decay.to(work),
        scale=scale,
        initial=initial,
        reset=reset,
        lengths=lengths,
    )
    return output.to(value.dtype), final


def delta_product(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time steps heads key"],
    value: Float[Tensor, "batch time steps heads value"],
    beta: Float[Tensor, "batch time steps heads"],
    *,
    log_decay: Float[Tensor, "batch time heads"]
    | Float[Tensor, "batch time heads key"]
    | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state of the delta rule with several steps a token.

    At each time the state decays once, then takes one correction after another, and then answers
    the query. Its transition is a product of Householder matrices (DeltaProduct, Siems et al.,
    2025, arXiv:2502.10297). The arguments are those of `delta_rule`, with an axis of steps in key,
    value and beta.

    Raises:
        ValueError: if shapes or dtypes do not fit together, or there is no step.
    """
    if key.ndim != 5 or key.shape[2] == 0 or value.ndim != 5 or beta.ndim != 4:
        raise ValueError(
            f"delta_product: key {tuple(key.shape)}, value {tuple(value.shape)} and beta "
            f"{tuple(beta.shape)} should be (batch, time, steps, heads, key), (batch, time, steps, "
            "heads, value) and (batch, time, steps, heads), with at least one step"
        )
    steps = key.shape[2]
    if value.shape[2] != steps or beta.shape[2] != steps:
        raise ValueError(
            f"delta_product: key, value and beta should have as many steps as each other, not "
            f"{steps}, {value.shape[2]} and {beta.shape[2]}"
        )
    _check(
        "delta_product",
        query,
        key[:, :, 0],
        value[:, :, 0],
        beta=beta[:, :, 0],
        log_decay=log_decay,
        initial=initial,
    )
    check_marks("delta_product", query.shape[0], query.shape[1], reset, lengths)
    storage, work, initial = _precision(query, key, value, (beta, log_decay), initial)
    choice = backends.choose("delta_product", TABLE, value.to(storage)).backend
    query, key, made = query.to(storage), key.to(storage), value.to(storage)
    beta, log_decay = beta.to(work), None if log_decay is None else log_decay.to(work)
    if choice == "reference":
        output, final = reference.delta_product(
            query,
            key,
            made,
            beta,
            log_decay=log_decay,
            scale=scale,
            initial=initial,
            reset=reset,
            lengths=lengths,
        )
        return output.to(value.dtype), final
    # One step after another in time: the decay and the reset come with the first, the query with
    # the last.
    output, final = _FORMS[choice](
        _spread(query, steps, steps - 1),
        key.flatten(1, 2),
        made.flatten(1, 2),
        beta.flatten(1, 2),
        log_decay=None if log_decay is None else _spread(log_decay, steps, 0),
        scale=scale,
        initial=initial,
        reset=None if reset is None else _spread(reset, steps, 0),
        lengths=None if lengths is None else lengths * steps,
    )
    return output[:, steps - 1 :: steps].to(value.dtype).contiguous(), final


def low_rank_delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    read: Float[Tensor, "batch time heads key"],
    write: Float[Tensor, "batch time heads key"],
    *,
    log_decay: Float[Tensor, "batch time heads key"] | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"] | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state where the transition is diagonal plus of rank one.

    S_t = (diag(exp(log_decay_t)) + write_t read_t^T) S_{t-1} + key_t value_t^T
    output_t = scale * S_t^T query_t

    What is read is the state before it decays. RWKV-7 (Peng et al., 2025, arXiv:2503.14456) has the
    normalized key, negated, for `read` and its product with the in-context learning rate for
    `write`; its published state is the transpose of this one.

    Args:
        query: asks of the state.
        key: where the value is added.
        value: its dtype is the output's.
        read: called a in much of the literature.
        write: called b. The state stays bounded where the eigenvalues of the transition do.
        log_decay: at most 0, minus infinity included, one number a key. None does not decay.
        scale: of the output.
        initial: S before the first input; zeros if absent.
        reset: where true, S_{t-1} counts as zero.
        lengths: from 0 to time, as in `delta_rule`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    _check("low_rank_delta_rule", query, key, value, read=read, write=write, initial=initial)
    if log_decay is not None and log_decay.shape != query.shape:
        raise ValueError(
            f"low_rank_delta_rule: log_decay {tuple(log_decay.shape)} should be (batch, time, "
            f"heads, key) = {tuple(query.shape)}"
        )
    check_marks("low_rank_delta_rule", query.shape[0], query.shape[1], reset, lengths)
    storage, work, initial = _precision(query, key, value, (read, write, log_decay), initial)
    choice = backends.choose("low_rank_delta_rule", TABLE, value.to(storage)).backend
    query, key, made, read, write = (x.to(storage) for x in (query, key, value, read, write))
    log_decay = None if log_decay is None else log_decay.to(work)
    if choice == "reference":
        output, final = reference.low_rank_delta_rule(
            query,
            key,
            made,
            read,
            write,
            log_decay=log_decay,
            scale=scale,
            initial=initial,
            reset=reset,
            lengths=lengths,
        )
        return output.to(value.dtype), final
    # Two steps a token: the first decays and writes what it read, the second writes the value.
    output, final = _FORMS[choice](
        _spread(query, 2, 1),
        _spread(-read, 2, 0),
        _spread(made, 2, 1),
        None,
        write=stack([write, key], 2).flatten(1, 2),
        log_decay=None if log_decay is None else _spread(log_decay, 2, 0),
        scale=scale,
        initial=initial,
        reset=None if reset is None else _spread(reset, 2, 0),
        lengths=None if lengths is None else lengths * 2,
    )
    return output[:, 1::2].to(value.dtype).contiguous(), final


def delta_rule_step(
    query: Float[Tensor, "batch heads key"],
    key: Float[Tensor, "batch heads key"],
    value: Float[Tensor, "batch heads value"],
    beta: Float[Tensor, "batch heads"],
    state: Float[Tensor, "batch heads key value"],
    *,
    log_decay: Float[Tensor, "batch heads"] | Float[Tensor, "batch heads key"] | None = None,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "batch heads value"], Float[Tensor, "batch heads key value"]]:
    """Return the output and the next state, a fresh tensor: one time of `delta_rule`."""
    given = (query, key, value, beta)
    return _one_time(delta_rule, native.step, given, log_decay, state, scale)


def delta_product_step(
    query: Float[Tensor, "batch heads key"],
    key: Float[Tensor, "batch steps heads key"],
    value: Float[Tensor, "batch steps heads value"],
    beta: Float[Tensor, "batch steps heads"],
    state: Float[Tensor, "batch heads key value"],
    *,
    log_decay: Float[Tensor, "batch heads"] | Float[Tensor, "batch heads key"] | None = None,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "batch heads value"], Float[Tensor, "batch heads key value"]]:
    """Return the output and the next state, a fresh tensor: one time of `delta_product`."""
    given = (query, key, value, beta)
    return _one_time(delta_product, native.product_step, given, log_decay, state, scale)


def low_rank_delta_rule_step(
    query: Float[Tensor, "batch heads key"],
    key: Float[Tensor, "batch heads key"],
    value: Float[Tensor, "batch heads value"],
    read: Float[Tensor, "batch heads key"],
    write: Float[Tensor, "batch heads key"],
    state: Float[Tensor, "batch heads key value"],
    *,
    log_decay: Float[Tensor, "batch heads key"] | None = None,
    scale: float = 1.0,
) -> tuple[Float[Tensor, "batch heads value"], Float[Tensor, "batch heads key value"]]:
    """Return the output and the next state, a fresh tensor: one time of `low_rank_delta_rule`."""
    given = (query, key, value, read, write)
    return _one_time(low_rank_delta_rule, native.low_rank_step, given, log_decay, state, scale)


def _one_time(
    op: Callable[..., tuple[Tensor, Tensor]],
    kernel: Callable[..., tuple[Tensor, Tensor]],
    given: tuple[Tensor, ...],
    log_decay: Tensor | None,
    state: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Return what the op gives at one time, by its kernel if nothing watches."""
    if backends.direct(op.__name__, TABLE, (*given, log_decay, state)):
        # The kernel looks at shapes, dtypes and strides itself, in a tenth of the time.
        try:
            return kernel(*given, log_decay, state, scale)
        except ValueError:
            pass  # what does not fit is said better below
    output, final = op(
        *(x[:, None] for x in given),
        log_decay=None if log_decay is None else log_decay[:, None],
        scale=scale,
        initial=state,
    )
    return output[:, 0], final


def _check(op: str, query: Tensor, key: Tensor, value: Tensor, **others: Tensor | None) -> None:
    """Refuse shapes that do not fit together."""
    if query.ndim != 4 or key.shape != query.shape:
        raise ValueError(
            f"{op}: query {tuple(query.shape)} and key {tuple(key.shape)} should agree on "
            "(batch, time, heads, key)"
        )
    if value.ndim != 4 or value.shape[:3] != query.shape[:3]:
        raise ValueError(
            f"{op}: value {tuple(value.shape)} should be (batch, time, heads, value) beside a "
            f"query of {tuple(query.shape)}"
        )
    batch, time, heads, width = query.shape
    gate, rows, state = (
        (batch, time, heads),
        tuple(query.shape),
        (batch, heads, width, value.shape[3]),
    )
    fitting = {
        "beta": {"(batch, time, heads)": gate},
        "log_decay": {"(batch, time, heads)": gate, "(batch, time, heads, key)": rows},
        "read": {"(batch, time, heads, key)": rows},
        "write": {"(batch, time, heads, key)": rows},
        "initial": {"(batch, heads, key, value)": state},
    }
    for name, x in others.items():
        if x is not None and tuple(x.shape) not in fitting[name].values():
            wanted = " or ".join(f"{axes} = {sizes}" for axes, sizes in fitting[name].items())
            raise ValueError(f"{op}: {name} {tuple(x.shape)} should be {wanted}")


def _precision(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    others: tuple[Tensor | None, ...],
    initial: Tensor | None,
) -> tuple[dtype, dtype, Tensor]:
    """Return the dtypes of what is stored and of the arithmetic, and the initial state in it."""
    storage = promote_types(promote_types(query.dtype, key.dtype), value.dtype)
    work = promote_types(storage, float32)
    for x in (*others, initial):
        if x is not None and promote_types(x.dtype, work) != work:
            storage = work = promote_types(x.dtype, work)  # what is wider widens the work
    if initial is None:
        batch, _, heads, width = query.shape
        return storage, work, query.new_zeros(batch, heads, width, value.shape[-1], dtype=work)
    return storage, work, initial.to(work)


def _spread(x: Tensor, steps: int, place: int) -> Tensor:
    """Return (batch, time * steps, ...) with x at one step of every token, and zeros elsewhere."""
    parts = [zeros_like(x)] * steps
    parts[place] = x
    return stack(parts, 2).flatten(1, 2)
