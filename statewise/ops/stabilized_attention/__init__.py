"""Linear attention with exponential gates, stabilized by their running maximum: mLSTM's memory."""

# Inside this package `torch` is the file torch.py, so the library is imported by its parts.
from functools import reduce

from jaxtyping import Bool, Float, Int
from torch import Tensor, float32, promote_types

from statewise import backends
from statewise.ops.arguments import check_marks
from statewise.ops.stabilized_attention import native, reference
from statewise.ops.stabilized_attention import torch as in_torch
from statewise.ops.stabilized_attention.reference import State

__all__ = ["TABLE", "stabilized_linear_attention", "stabilized_linear_attention_step"]

TABLE = (
    backends.Row("native", backends.without_native),
    backends.Row("torch", backends.always),
    backends.Row("reference", backends.always),
)

_FORMS = {
    "native": native.stabilized_linear_attention,
    "torch": in_torch.stabilized_linear_attention,
    "reference": reference.stabilized_linear_attention,
}


def stabilized_linear_attention(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_input: Float[Tensor, "batch time heads"],
    log_forget: Float[Tensor, "batch time heads"],
    scale: float | None = None,
    eps: float = 0.0,
    initial: State | None = None,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], State]:
    """Return what mLSTM's memory answers at every time, and its last state, fresh tensors.

    Beck et al., "xLSTM: Extended Long Short-Term Memory", 2024, arXiv:2405.04517, section 2.3 and
    appendix A. With forget and input gates exp(log_forget_t) and exp(log_input_t),

        m_t = max(log_forget_t + m_{t-1}, log_input_t)
        C_t = exp(log_forget_t + m_{t-1} - m_t) C_{t-1} + exp(log_input_t - m_t) k_t v_t^T
        n_t = exp(log_forget_t + m_{t-1} - m_t) n_{t-1} + exp(log_input_t - m_t) k_t
        output_t = scale C_t^T q_t / (max(|scale n_t . q_t|, exp(-m_t)) + eps exp(-m_t))

    The output does not depend on m, whatever it starts from: m is the logarithm of the unit that C
    and n are written in, so that no gate overflows. In true units the normalizer is at least one.

    Args:
        query: read by inner products with the keys; multiplied by `scale`, as the states of the
            paper's kernels and of the transformers library have it (their keys are not scaled).
        key: what is written at, in the dtype of the others or not.
        value: what is written; its dtype is the output's.
        log_input: the input gate's pre-activation, any number; -inf writes nothing.
        log_forget: log sigmoid of the forget gate's pre-activation, or the pre-activation itself
            for an exponential gate; -inf forgets all. Both gates stay in the dtype of the
            arithmetic, float32 or wider: keep them there, bfloat16 is coarse for a logarithm.
        scale: one over the square root of the key's size if absent.
        eps: added to the normalizer, in true units, so that it too leaves the output free of m.
            Needed by nothing here: the normalizer is never below one.
        initial: (C, n, m) before the first input, C of (batch, heads, key, value), n without value
            and m without key; zeros if absent. Arithmetic is in its dtype, float32 or wider.
        reset: where true, the state counts as zero before that input is read.
        lengths: from 0 to time. Beyond a row's length the output is zero, nothing is read, and the
            final state is the one after its last real input; with length 0, `initial`.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    _check(query, key, value, log_input, log_forget, initial)
    batch, time, heads, keys = query.shape
    check_marks("stabilized_linear_attention", batch, time, reset, lengths)
    storage = reduce(promote_types, (key.dtype, value.dtype), query.dtype)
    work = reduce(promote_types, (log_input.dtype, log_forget.dtype, storage), float32)
    if initial is None:
        zeros = value.new_zeros
        C = zeros(batch, heads, keys, value.shape[-1], dtype=work)
        n, m = zeros(batch, heads, keys, dtype=work), zeros(batch, heads, dtype=work)
    else:
        work = reduce(promote_types, (x.dtype for x in initial), work)
        C, n, m = (x.to(work) for x in initial)
    if work != float32:
        storage = work
    q, k, v = query.to(storage), key.to(storage), value.to(storage)
    choice = backends.choose("stabilized_linear_attention", TABLE, v)
    output, final = _FORMS[choice.backend](
        q,
        k,
        v,
        log_input=log_input.to(work),
        log_forget=log_forget.to(work),
        scale=keys**-0.5 if scale is None else scale,
        eps=eps,
        initial=(C, n, m),
        reset=reset,
        lengths=lengths,
    )
    return output.to(value.dtype), final


def stabilized_linear_attention_step(
    query: Float[Tensor, "batch heads key"],
    key: Float[Tensor, "batch heads key"],
    value: Float[Tensor, "batch heads value"],
    state: State,
    *,
    log_input: Float[Tensor, "batch heads"],
    log_forget: Float[Tensor, "batch heads"],
    scale: float | None = None,
    eps: float = 0.0,
) -> tuple[Float[Tensor, "batch heads value"], State]:
    """Return the next output and state: one time of `stabilized_linear_attention`.

    The kernel is called directly where nothing needs a gradient, traces or transforms.

    Raises:
        ValueError: if shapes or dtypes do not fit together.
    """
    given = (query, key, value, log_input, log_forget, *state)
    if backends.direct("stabilized_attention", TABLE, given):
        # The kernel looks at every shape itself, in a tenth of the time it takes here.
        try:
            return native.step(*given, query.shape[-1] ** -0.5 if scale is None else scale, eps)
        except ValueError:
            pass  # what does not fit is said better below
    output, state = stabilized_linear_attention(
        query[:, None],
        key[:, None],
        value[:, None],
        log_input=log_input[:, None],
        log_forget=log_forget[:, None],
        scale=scale,
        eps=eps,
        initial=state,
    )
    return output[:, 0].clone(), state


def _check(query, key, value, log_input, log_forget, initial) -> None:
    """Refuse shapes that do not fit together, by a ValueError that names the first."""

    def fits(name: str, x: Tensor, axes: str, shape: tuple[int, ...]) -> None:
        if x.shape != shape:
            raise ValueError(
                f"stabilized_linear_attention: {name} {tuple(x.shape)} should be ({axes}) = {shape}"
            )
        if not x.is_floating_point():
            raise ValueError(
                f"stabilized_linear_attention: {name} of {x.dtype} should be floating-point"
            )

    for name, x, axes in (("query", query, "key"), ("value", value, "value")):
        if x.ndim != 4:
            raise ValueError(
                f"stabilized_linear_attention: {name} {tuple(x.shape)} should be "
                f"(batch, time, heads, {axes})"
            )
    batch, time, heads, keys = query.shape
    values = value.shape[-1]
    fits("query", query, "batch, time, heads, key", (batch, time, heads, keys))
    fits("key", key, "batch, time, heads, key", (batch, time, heads, keys))
    fits("value", value, "batch, time, heads, value", (batch, time, heads, values))
    fits("log_input", log_input, "batch, time, heads", (batch, time, heads))
    fits("log_forget", log_forget, "batch, time, heads", (batch, time, heads))
    if initial is not None:
        C, n, m = initial
        fits("initial C", C, "batch, heads, key, value", (batch, heads, keys, values))
        fits("initial n", n, "batch, heads, key", (batch, heads, keys))
        fits("initial m", m, "batch, heads", (batch, heads))
