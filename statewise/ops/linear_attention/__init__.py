"""Linear attention  S_t = decay_t * S_{t-1} + k_t v_t^T,  y_t = S_t^T q_t:  a matrix for a memory.

With a decay per head or none it serves RetNet, Mamba-2 and simple GLA, with one per key GLA, HGRN2
and, with a bonus, RWKV-6; `normalized_linear_attention` is the sum that Katharopoulos et al.,
"Transformers are RNNs", 2020 (section 3.3), divide by its weights.
"""

from statewise.ops.linear_attention.attention import TABLE, linear_attention, linear_attention_step
from statewise.ops.linear_attention.normalized import (
    normalized_linear_attention,
    normalized_linear_attention_step,
)

__all__ = [
    "TABLE",
    "linear_attention",
    "linear_attention_step",
    "normalized_linear_attention",
    "normalized_linear_attention_step",
]
