"""The functions of flash-linear-attention on our ops, which run on a CPU as well.

    from statewise.compat.fla import chunk_gla  # was: from fla.ops.gla import chunk_gla

    o, final_state = chunk_gla(q, k, v, g, initial_state=h0, output_final_state=True)

Names, orders and defaults of the arguments are those of fla-core 0.6, and so are the layouts:

- `q`, `k`: (batch, time, heads, key); `v` and the output: (batch, time, heads, value). Gates and
  betas lack the last axis, or have that of the key or of the value. Gates are logarithms.
- `scale` multiplies the queries, by key ** -0.5 if it is None.
- `cu_seqlens`, (sequences + 1,): bounds of sequences that lie end to end in a batch of one, from 0
  to time. None knows of another.
- `initial_state` and the final one: (sequences, heads, key, value), a row of the batch being one
  sequence, in float32 or wider; (sequences, heads, value, key) with `state_v_first`.
- They answer (output, final state), and None in place of the state without `output_final_state`.
- `reverse` reads every sequence from its end.

The `chunk_` and the `fused_recurrent_` function of a name compute the same, and both have
gradients. What says how a GPU's kernels run is taken and changes nothing: `cu_seqlens_cpu`,
`chunk_size`, `chunk_indices`, `safe_gate`, `disable_recompute`, `use_graph`, `max_num_seqs`; for
`chunk_rwkv7` and `chunk_dplr_delta_rule` also `lower_bound`. What asks for several devices, or for
states within a sequence, is refused: `cp_context` and `return_intermediate_states`.
"""

from statewise.compat.fla.delta_rule import chunk_delta_rule as chunk_delta_rule
from statewise.compat.fla.delta_rule import chunk_gated_delta_rule as chunk_gated_delta_rule
from statewise.compat.fla.delta_rule import chunk_kda as chunk_kda
from statewise.compat.fla.delta_rule import fused_recurrent_delta_rule as fused_recurrent_delta_rule
from statewise.compat.fla.delta_rule import (
    fused_recurrent_gated_delta_rule as fused_recurrent_gated_delta_rule,
)
from statewise.compat.fla.delta_rule import fused_recurrent_kda as fused_recurrent_kda
from statewise.compat.fla.hgrn import chunk_hgrn as chunk_hgrn
from statewise.compat.fla.hgrn import fused_recurrent_hgrn as fused_recurrent_hgrn
from statewise.compat.fla.linear_attention import chunk_gla as chunk_gla
from statewise.compat.fla.linear_attention import chunk_linear_attn as chunk_linear_attn
from statewise.compat.fla.linear_attention import chunk_retention as chunk_retention
from statewise.compat.fla.linear_attention import chunk_rwkv6 as chunk_rwkv6
from statewise.compat.fla.linear_attention import chunk_simple_gla as chunk_simple_gla
from statewise.compat.fla.linear_attention import fused_chunk_linear_attn as fused_chunk_linear_attn
from statewise.compat.fla.linear_attention import fused_chunk_retention as fused_chunk_retention
from statewise.compat.fla.linear_attention import fused_chunk_simple_gla as fused_chunk_simple_gla
from statewise.compat.fla.linear_attention import fused_recurrent_gla as fused_recurrent_gla
from statewise.compat.fla.linear_attention import (
    fused_recurrent_linear_attn as fused_recurrent_linear_attn,
)
from statewise.compat.fla.linear_attention import (
    fused_recurrent_retention as fused_recurrent_retention,
)
from statewise.compat.fla.linear_attention import fused_recurrent_rwkv6 as fused_recurrent_rwkv6
from statewise.compat.fla.linear_attention import (
    fused_recurrent_simple_gla as fused_recurrent_simple_gla,
)
from statewise.compat.fla.low_rank import chunk_dplr_delta_rule as chunk_dplr_delta_rule
from statewise.compat.fla.low_rank import chunk_rwkv7 as chunk_rwkv7
from statewise.compat.fla.low_rank import (
    fused_recurrent_dplr_delta_rule as fused_recurrent_dplr_delta_rule,
)
from statewise.compat.fla.low_rank import fused_recurrent_rwkv7 as fused_recurrent_rwkv7

__all__ = [
    "chunk_delta_rule",
    "chunk_dplr_delta_rule",
    "chunk_gated_delta_rule",
    "chunk_gla",
    "chunk_hgrn",
    "chunk_kda",
    "chunk_linear_attn",
    "chunk_retention",
    "chunk_rwkv6",
    "chunk_rwkv7",
    "chunk_simple_gla",
    "fused_chunk_linear_attn",
    "fused_chunk_retention",
    "fused_chunk_simple_gla",
    "fused_recurrent_delta_rule",
    "fused_recurrent_dplr_delta_rule",
    "fused_recurrent_gated_delta_rule",
    "fused_recurrent_gla",
    "fused_recurrent_hgrn",
    "fused_recurrent_kda",
    "fused_recurrent_linear_attn",
    "fused_recurrent_retention",
    "fused_recurrent_rwkv6",
    "fused_recurrent_rwkv7",
    "fused_recurrent_simple_gla",
]
