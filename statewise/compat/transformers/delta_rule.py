"""The gated delta rule as the hub's library calls it: a gate of a head (GDN) or of a key (KDA).

Qwen3-Next, Qwen3.5 and OLMo-hybrid have the first, Kimi-Linear the second. A whole sequence and one
input have a function each there; both names lead to the same function here. Values may have more
heads than queries and keys, each of which then serves as many of them in a row.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from statewise.compat.fla.delta_rule import of_norm_one
from statewise.compat.transformers.pieces import current
from statewise.ops.delta_rule import delta_rule, delta_rule_step

Keys = Float[Tensor, "batch time groups key"]
Values = Float[Tensor, "batch time heads value"]
State = Float[Tensor, "batch heads key value"]


def gated_delta_rule(
    query: Keys,
    key: Keys,
    value: Values,
    g: Float[Tensor, "batch time heads"] | Float[Tensor, "batch time heads key"],
    beta: Float[Tensor, "batch time heads"],
    initial_state: State | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **_options: Any,
) -> tuple[Values, State | None]:
    """Return what the delta rule answers, and its last state, in float32, where it is asked for."""
    piece = current()
    initial = initial_state if piece.state is None else piece.state
    q, k, v, g, b = (x.float() for x in (query, key, value, g, beta))
    if use_qk_l2norm_in_kernel:
        q, k = of_norm_one(q), of_norm_one(k)
    if (times := v.shape[2] // q.shape[2]) > 1:
        q, k = (x.repeat_interleave(times, 2) for x in (q, k))
    scale = q.shape[-1] ** -0.5
    if piece.time == 1 and piece.lengths is None and initial is not None:
        now = (q[:, 0], k[:, 0], v[:, 0], b[:, 0])
        y, final = delta_rule_step(*now, initial, log_decay=g[:, 0], scale=scale)
        y = y[:, None]
    else:
        y, final = delta_rule(
            q, k, v, b, log_decay=g, scale=scale, initial=initial, lengths=piece.lengths
        )
    return y.to(query.dtype), final if output_final_state else None
