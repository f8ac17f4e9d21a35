"""RWKV-7, the delta rule whose transition is diagonal plus low-rank, with fla.ops' signatures.

S_t = diag(exp(gk_t)) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T,    o_t = scale * S_t^T q_t
"""

from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from statewise.compat.fla.sequences import Bounds, Keys, Values, over_sequences, refuse
from statewise.ops.delta_rule import low_rank_delta_rule

State = Float[Tensor, "sequences heads key value"]
Answer = tuple[Values, State | None]


def fused_recurrent_dplr_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    a: Keys,
    b: Keys,
    gk: Keys,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return the outputs, and the last states if asked for, of the recurrence above."""
    by = q.shape[-1] ** -0.5 if scale is None else scale

    return over_sequences(
        partial(low_rank_delta_rule, scale=by),
        {"query": q, "key": k, "value": v, "read": a, "write": b, "log_decay": gk},
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
        reverse=reverse,
    )


def chunk_dplr_delta_rule(
    q: Keys,
    k: Keys,
    v: Values,
    a: Keys,
    b: Keys,
    gk: Keys,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context: Any = None,
    lower_bound: float | None = None,
) -> Answer:
    """Return what `fused_recurrent_dplr_delta_rule` does."""
    refuse("chunk_dplr_delta_rule", cp_context=cp_context)
    return fused_recurrent_dplr_delta_rule(
        q, k, v, a, b, gk, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def chunk_rwkv7(
    r: Keys,
    w: Keys,
    k: Keys,
    v: Values,
    a: Keys,
    b: Keys,
    scale: float | None = 1.0,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: Bounds | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    chunk_size: int | None = None,
    disable_recompute: bool = False,
    cp_context: Any = None,
    lower_bound: float | None = None,
) -> Answer:
    """Return the recurrence above with r for the query and w for the gate; the scale is 1."""
    refuse("chunk_rwkv7", cp_context=cp_context)
    return fused_recurrent_dplr_delta_rule(
        r, k, v, a, b, w, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )


def fused_recurrent_rwkv7(
    r: Keys,
    w: Keys,
    k: Keys,
    v: Values,
    a: Keys,
    b: Keys,
    scale: float | None = None,
    initial_state: State | None = None,
    output_final_state: bool = True,
    cu_seqlens: Bounds | None = None,
) -> Answer:
    """Return what `chunk_rwkv7` does, but with key ** -0.5 as the scale, and the last state."""
    return fused_recurrent_dplr_delta_rule(
        r, k, v, a, b, w, scale, initial_state, output_final_state, cu_seqlens=cu_seqlens
    )
