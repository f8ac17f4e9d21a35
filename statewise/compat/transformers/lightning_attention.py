"""MiniMax: lightning attention, linear attention with a constant decay for each head."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.compat.transformers.caches import with_room
from statewise.compat.transformers.pieces import front, recurrent_mask, rolled, unrolled
from statewise.compat.transformers.rebinding import rebound
from statewise.ops.linear_attention import linear_attention, linear_attention_step

SOURCES = "MiniMaxLightningAttention.forward", "MiniMaxLightningAttention.get_slope_rate"
SOURCES_ABOVE = "MiniMaxModel.forward", "create_recurrent_attention_mask"


def forwards(layer: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of a MiniMaxLightningAttention."""
    return {layer: _attend}


def forwards_above(model: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of a MiniMaxModel, which loses count where its first layer recurs."""
    kinds = model.config.layer_types
    recurrent = [number for number, kind in enumerate(kinds) if kind == "linear_attention"]
    forward = rebound(type(model).forward, {"create_recurrent_attention_mask": recurrent_mask})
    return {model: with_room(forward, recurrent, len(kinds), states=1)}


def _attend(
    self: Any,
    hidden_states: Float[Tensor, "batch time dim"],
    position_embeddings: Any = None,
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **_options: Any,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch heads key value"]]:
    """Map inputs, those of padding at the end; the state is in the cache."""
    lengths, order = None, None
    if attention_mask is not None:
        lengths, order = front(attention_mask[:, -hidden_states.shape[1] :])
    x = rolled(hidden_states, order)
    qkv = self.act_fn(self.qkv_proj(x)).unflatten(-1, (self.num_attention_heads, -1))
    q, k, v = qkv.split(self.head_dim, -1)
    before = None
    if past_key_values is not None:
        kept = past_key_values.get_linear_cache(self.layer_idx)
        before = kept if isinstance(kept, Tensor) else None  # an empty list stands for nothing
    log_decay = -self.slope_rate.flatten().float()
    if before is not None and x.shape[1] == 1 and lengths is None:
        given = (q[:, 0], k[:, 0], v[:, 0], before)
        y, after = linear_attention_step(*given, log_decay=log_decay.expand(len(x), -1))
        y = y[:, None]
    else:
        decays = log_decay.expand(*x.shape[:2], -1)
        y, after = linear_attention(q, k, v, log_decay=decays, initial=before, lengths=lengths)
    if past_key_values is not None:
        past_key_values.set_linear_cache(self.layer_idx, after)
    y = self.norm(y.flatten(2)) * torch.sigmoid(self.output_gate(x))
    return unrolled(self.out_proj(y), order), after


# Pickle looks a bound method up by its name, and so finds the library's own forward again.
_attend.__name__ = "forward"
