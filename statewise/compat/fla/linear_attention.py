"""Sums of outer products that decay, with the signatures of fla.ops: GLA, retention, RWKV-6, ...

    S_t = exp(g_t) * S_{t-1} + k_t v_t^T,    o_t = scale * S_t^T q_t

The gate is of a head (`g`; `g_gamma`, (heads,), at all times), of a key (`gk`, and the `g` of GLA)
or of a value (`gv`).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.compat.fla.sequences import (
    Answer,
    Bounds,
    Heads,
    Keys,
    State,
    Values,
    over_sequences,
)
from statewise.ops.linear_attention import linear_attention

Sums = State | tuple[State, Float[Tensor, "sequences one heads key"]]
"""What is normalized has two sums for a state: S, and that of keys, (sequences, 1, heads, key)."""


def chunk_gla(
    q: Keys,
    k: Keys,
    v: Values,
    g: Keys,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
) -> Answer:
    """Return gated linear attention, whose gate is of each key."""
    return fused_recurrent_gla(
        q,
        k,
        v,
        g,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def fused_recurrent_gla(
    q: Keys,
    k: Keys,
    v: Values,
    gk: Keys | None = None,
    gv: Values | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return gated linear attention, whose gates are of each key, of each value or both."""
    return _attend(
        q,
        k,
        v,
        gk=gk,
        gv=gv,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def chunk_simple_gla(
    q: Keys,
    k: Keys,
    v: Values,
    g: Heads | None = None,
    g_gamma: Float[Tensor, " heads"] | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_size: int | None = None,
) -> Answer:
    """Return gated linear attention, whose gate is of a head."""
    return fused_recurrent_simple_gla(
        q,
        k,
        v,
        g,
        g_gamma,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def fused_chunk_simple_gla(
    q: Keys,
    k: Keys,
    v: Values,
    g: Heads | None = None,
    g_gamma: Float[Tensor, " heads"] | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_simple_gla` does."""
    return fused_recurrent_simple_gla(
        q, k, v, g, g_gamma, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_recurrent_simple_gla(
    q: Keys,
    k: Keys,
    v: Values,
    g: Heads | None = None,
    g_gamma: Float[Tensor, " heads"] | None = None,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_simple_gla` does."""
    if g_gamma is not None:
        g = g_gamma.expand(v.shape[:3]) if g is None else g + g_gamma
    return _attend(
        q,
        k,
        v,
        g=g,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def chunk_retention(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
    chunk_size: int | None = None,
) -> Answer:
    """Return retention: head h, from 0 on, decays by 1 - 2 ** (-5 - h)."""
    return fused_recurrent_retention(
        q, k, v, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_chunk_retention(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_retention` does."""
    return fused_recurrent_retention(
        q, k, v, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_recurrent_retention(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_retention` does."""
    wide = torch.promote_types(q.dtype, torch.float32)
    head = torch.arange(q.shape[2], device=q.device, dtype=wide)
    return fused_recurrent_simple_gla(
        q,
        k,
        v,
        g_gamma=(-(2.0 ** (-5.0 - head))).log1p(),
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )


def chunk_linear_attn(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: Sums | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Bounds | None = None,
) -> tuple[Values, Sums | None]:
    """Return linear attention without a gate; what is normalized is divided by its weights."""
    return fused_recurrent_linear_attn(
        q, k, v, scale, initial_state, output_final_state, False, normalize, cu_seqlens
    )


def fused_chunk_linear_attn(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: Sums | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Bounds | None = None,
) -> tuple[Values, Sums | None]:
    """Return what `chunk_linear_attn` does."""
    return fused_recurrent_linear_attn(
        q, k, v, scale, initial_state, output_final_state, False, normalize, cu_seqlens
    )


def fused_recurrent_linear_attn(
    q: Keys,
    k: Keys,
    v: Values,
    scale: float | None = None,
    initial_state: Sums | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: Bounds | None = None,
) -> tuple[Values, Sums | None]:
    """Return what `chunk_linear_attn` does, normalized only if asked for.

    As in the original, 1e-10 is added to the sum of the weights, whose sign is free.
    """
    start = initial_state
    value = v
    if normalize:
        # The weights are summed as one more value, which is one at all times.
        value = v.to(torch.promote_types(v.dtype, torch.float32))
        value = torch.cat([value, torch.ones_like(value[..., :1])], -1)
        if start is not None:
            S, n = start if isinstance(start, tuple) else (start, None)
            n = torch.zeros_like(S[..., 0]) if n is None else n[:, 0]
            start = torch.cat([S, n[..., None]], -1)
    elif isinstance(start, tuple):
        raise ValueError("initial_state is a pair, which only normalized sums have")
    o, final = _attend(
        q,
        k,
        value,
        scale=scale,
        initial_state=start,
        output_final_state=output_final_state,
        reverse=reverse,
        cu_seqlens=cu_seqlens,
    )
    if not normalize:
        return o, final
    o = (o[..., :-1] / (o[..., -1:] + 1e-10)).to(v.dtype)
    if final is None:
        return o, None
    return o, (final[..., :-1].contiguous(), final[:, None, ..., -1].contiguous())


def chunk_rwkv6(
    r: Keys,
    k: Keys,
    v: Values,
    w: Keys,
    u: Float[Tensor, "heads key"],
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    chunk_size: int | None = None,
) -> Answer:
    """Return RWKV-6's  o_t = scale * (S_{t-1} + diag(u) k_t v_t^T)^T r_t,  gated by w."""
    return fused_recurrent_rwkv6(
        r, k, v, w, u, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_recurrent_rwkv6(
    r: Keys,
    k: Keys,
    v: Values,
    w: Keys,
    u: Float[Tensor, "heads key"],
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_rwkv6` does."""
    return _attend(
        r,
        k,
        v,
        gk=w,
        u=u,
        scale=scale,
        initial_state=initial_state,
        output_final_state=output_final_state,
        reverse=reverse,
        cu_seqlens=cu_seqlens,
    )


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    u: Tensor | None = None,
    scale: float | None,
    initial_state: Tensor | None,
    output_final_state: bool,
    cu_seqlens: Tensor | None,
    reverse: bool = False,
    state_v_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the outputs, and the final state if asked for, with whatever gates there are."""
    by = q.shape[-1] ** -0.5 if scale is None else scale

    def op(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        g: Tensor | None,
        gk: Tensor | None,
        gv: Tensor | None,
        **marks: Tensor | None,
    ):
        log_decay = g if gk is None else gk
        if gv is not None:
            log_decay = gv[..., None, :].expand(-1, -1, -1, q.shape[-1], -1)
            log_decay = log_decay if gk is None else log_decay + gk[..., None]
        return linear_attention(q, k, v, log_decay=log_decay, bonus=u, scale=by, **marks)

    return over_sequences(
        op,
        {"q": q, "k": k, "v": v, "g": g, "gk": gk, "gv": gv},
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
        reverse=reverse,
        state_v_first=state_v_first,
    )
