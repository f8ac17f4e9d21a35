"""The delta rule with the signatures of fla.ops: plain, with a gate of a head, of a key (KDA).

    S_t = exp(g_t) * S_{t-1} + beta_t k_t (v_t - (exp(g_t) * S_{t-1})^T k_t)^T
    o_t = scale * S_t^T q_t

Values may have more heads than queries and keys: head h reads those of h // (heads of values per
head of keys), and gates, betas and states have as many as values. A beta is of a head, or of each
value.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from statewise.compat.fla.sequences import (
    Answer,
    Bounds,
    Heads,
    State,
    Values,
    over_sequences,
    refuse,
)
from statewise.ops.delta_rule import delta_rule

Keys = Float[Tensor, "batch time groups key"]
Gates = Float[Tensor, "batch time heads key"]
Rates = Float[Tensor, "batch time heads *value"]


def chunk_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    beta: Heads,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_size: int | None = None,
) -> Answer:
    """Return the delta rule without a gate, in float32 too."""
    return fused_recurrent_delta_rule(
        q,
        k,
        v,
        beta,
        scale,
        initial_state,
        output_final_state,
        use_qk_l2norm_in_kernel,
        cu_seqlens,
    )


def fused_recurrent_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    beta: Rates | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_delta_rule` does; a beta that is absent is one."""
    return _correct(
        q,
        k,
        v,
        beta,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        cu_seqlens=cu_seqlens,
    )


def chunk_gated_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    g: Heads,
    beta: Heads,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: Any = None,
    chunk_size: int | None = None,
    use_gate_in_kernel: bool = False,
    A_log: Float[Tensor, " heads"] | None = None,
    dt_bias: Float[Tensor, " heads"] | None = None,
) -> Answer:
    """Return the delta rule with a gate of a head.

    Args:
        q: queries, and what else is read, as above.
        k: of norm one, or made so by `use_qk_l2norm_in_kernel`.
        v: values.
        g: logarithms of decays. With `use_gate_in_kernel` the gate is
            -exp(A_log) softplus(g + dt_bias).
        beta: in [0, 2]. With `use_beta_sigmoid_in_kernel` it is sigmoid(beta), twice that with
            `allow_neg_eigval` as well.
        scale: key ** -0.5 if absent.
        initial_state: zeros if absent.
        output_final_state: whether the last is returned.
        use_qk_l2norm_in_kernel: divides queries and keys by sqrt(|x|^2 + 1e-6).
        use_beta_sigmoid_in_kernel: see `beta`.
        allow_neg_eigval: see `beta`.
        state_v_first: whether states are (sequences, heads, value, key).
        cu_seqlens: bounds of sequences end to end.
        cu_seqlens_cpu: changes nothing.
        chunk_indices: changes nothing.
        cp_context: refused.
        chunk_size: changes nothing.
        use_gate_in_kernel: see `g`.
        A_log: see `g`.
        dt_bias: see `g`; zeros if absent.

    Raises:
        ValueError: if shapes or options do not fit together.
    """
    refuse("chunk_gated_delta_rule", cp_context=cp_context)
    return fused_recurrent_gated_delta_rule(
        q,
        k,
        v,
        g,
        beta=beta,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel,
        use_gate_in_kernel=use_gate_in_kernel,
        A_log=A_log,
        dt_bias=dt_bias,
        use_beta_sigmoid_in_kernel=use_beta_sigmoid_in_kernel,
        allow_neg_eigval=allow_neg_eigval,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def fused_recurrent_gated_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    g: Heads | None = None,
    gk: Gates | None = None,
    gv: Values | None = None,
    beta: Rates | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Float[Tensor, " heads"] | None = None,
    dt_bias: Float[Tensor, " heads"] | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_gated_delta_rule` does, also with gates of each key and of each value.

    Those of each value, and betas of each value, cost a head for every value.
    """
    if use_gate_in_kernel:
        if g is None or A_log is None:
            raise ValueError("use_gate_in_kernel needs both g and A_log")
        g = _rate(A_log) * softplus(g.to(_wide(g)) + (0 if dt_bias is None else dt_bias))
    return _correct(
        q,
        k,
        v,
        _gated(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval),
        g=g,
        gk=gk,
        gv=gv,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def chunk_kda(
    q: Keys,
    k: Keys,
    v: Values,
    g: Gates,
    beta: Heads,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: Any = None,
    use_graph: bool = False,
    max_num_seqs: int | None = None,
    chunk_size: int | None = None,
    A_log: Float[Tensor, "*heads"] | None = None,
    dt_bias: Float[Tensor, "*heads_key"] | None = None,
) -> Answer:
    """Return the delta rule with a gate of each key; arguments as in `chunk_gated_delta_rule`.

    With `use_gate_in_kernel` the gate is -exp(A_log) softplus(g + dt_bias), or with `lower_bound`
    too, lower_bound sigmoid(exp(A_log) (g + dt_bias)), where A_log may be absent. A_log has a
    number for each head, dt_bias one for each head and key, in any shape.
    """
    refuse(
        "chunk_kda", cp_context=cp_context, return_intermediate_states=return_intermediate_states
    )
    return fused_recurrent_kda(
        q,
        k,
        v,
        g,
        beta,
        A_log,
        dt_bias,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel,
        use_gate_in_kernel=use_gate_in_kernel,
        use_beta_sigmoid_in_kernel=use_beta_sigmoid_in_kernel,
        allow_neg_eigval=allow_neg_eigval,
        lower_bound=lower_bound,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def fused_recurrent_kda(
    q: Keys,
    k: Keys,
    v: Values,
    g: Gates,
    beta: Rates,
    A_log: Float[Tensor, "*heads"] | None = None,
    dt_bias: Float[Tensor, "*heads_key"] | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_kda` does, also with betas of each value."""
    if use_gate_in_kernel:
        g = _gate_of_keys(g, A_log, dt_bias, lower_bound)
    return _correct(
        q,
        k,
        v,
        _gated(beta, use_beta_sigmoid_in_kernel, allow_neg_eigval),
        gk=g,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        normalize=use_qk_l2norm_in_kernel,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _rate(A_log: Tensor) -> Tensor:
    return -A_log.to(_wide(A_log)).exp()


def _gate_of_keys(
    g: Tensor, A_log: Tensor | None, dt_bias: Tensor | None, lower_bound: float | None
) -> Tensor:
    """Return the logarithms of KDA's decays from what its layer projects."""
    heads = g.shape[2]
    g = g.to(_wide(g))
    if dt_bias is not None:
        g = g + dt_bias.view(heads, -1)
    rate = None if A_log is None else _rate(A_log.view(heads, 1))
    if lower_bound is not None:
        return lower_bound * torch.sigmoid(g if rate is None else -rate * g)
    if rate is None:
        raise ValueError("use_gate_in_kernel needs A_log, or a lower_bound")
    return rate * softplus(g)


def _gated(beta: Tensor | None, sigmoid: bool, negative: bool) -> Tensor | None:
    """Return the betas from what a layer projects, if that is what they are."""
    if negative and not sigmoid:
        raise ValueError("allow_neg_eigval needs use_beta_sigmoid_in_kernel")
    if beta is None or not sigmoid:
        return beta
    beta = beta.to(_wide(beta)).sigmoid()
    return 2 * beta if negative else beta


def _correct(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None,
    *,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    scale: float | None,
    initial_state: Tensor | None,
    output_final_state: bool,
    normalize: bool,
    cu_seqlens: Tensor | None,
    state_v_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs, and the final state if asked for, with whatever gates there are."""
    by = q.shape[-1] ** -0.5 if scale is None else scale
    heads, groups = v.shape[2], max(q.shape[2], 1)
    if heads % groups:
        raise ValueError(f"the {heads} heads of v should be a multiple of the {groups} of q and k")
    beta = torch.ones_like(v[..., 0]) if beta is None else beta

    def op(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor,
        g: Tensor | None,
        gk: Tensor | None,
        gv: Tensor | None,
        **marks: Tensor | None,
    ):
        if normalize:
            q, k = (of_norm_one(x) for x in (q, k))
        if heads > groups:
            q, k = (x.repeat_interleave(heads // groups, 2) for x in (q, k))
        if gk is not None:
            g = gk if g is None else gk + g[..., None]
        if gv is None and beta.ndim == 3:
            return delta_rule(q, k, v, beta, log_decay=g, scale=by, **marks)
        return _by_value(q, k, v, beta, log_decay=g, gv=gv, scale=by, **marks)

    return over_sequences(
        op,
        {"q": q, "k": k, "v": v, "beta": beta, "g": g, "gk": gk, "gv": gv},
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
        state_v_first=state_v_first,
    )


def of_norm_one(x: Tensor) -> Tensor:
    """Return x over sqrt(|x|^2 + 1e-6), along its last axis."""
    wide = x.to(_wide(x))
    return (wide * (wide.square().sum(-1, keepdim=True) + 1e-6).rsqrt()).to(x.dtype)


def _by_value(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    *,
    log_decay: Tensor | None,
    gv: Tensor | None,
    scale: float,
    initial: Tensor | None,
    **marks: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the delta rule whose gate or beta is of each value: columns of S know of no other.

    So every value is a head of its own, with the queries and the keys of the head it is of.
    """
    heads, width = v.shape[2:]
    q, k = (x.repeat_interleave(width, 2) for x in (q, k))
    beta = beta if beta.ndim == 4 else beta[..., None].expand_as(v)
    if log_decay is not None:
        log_decay = log_decay.repeat_interleave(width, 2)
    if gv is not None:
        of_value = gv.flatten(2)
        if log_decay is not None:
            of_value = of_value if log_decay.ndim == 3 else of_value[..., None]
            of_value = log_decay + of_value
        log_decay = of_value
    if initial is not None:
        initial = initial.transpose(-1, -2).flatten(1, 2)[..., None]
    o, final = delta_rule(
        q,
        k,
        v.flatten(2)[..., None],
        beta.flatten(2),
        log_decay=log_decay,
        scale=scale,
        initial=initial,
        **marks,
    )
    final = final.unflatten(1, (heads, width))[..., 0].transpose(-1, -2).contiguous()
    return o[..., 0].unflatten(2, (heads, width)), final
