"""RWKV-4: the halves of a block, with the five tensors of state that the hub's library passes.

They are (batch, dim, layers): the inputs before of the feed-forward half and of the attention half,
and the numerator, denominator and maximum of the attention's average. The library's own halves read
one input of several rows as several inputs (its logits come out (batch, batch, vocabulary)), and
padding as input.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.compat.transformers.pieces import calling, current, masked, rolled_at_once
from statewise.mixers.parts.recurrent import once
from statewise.mixers.parts.rwkv import weighted_average

Inputs = Float[Tensor, "batch time dim"]
States = list[Tensor]
SOURCES = (
    "RwkvModel.forward",
    "RwkvSelfAttention.forward",
    "RwkvSelfAttention.extract_key_value",
    "RwkvFeedForward.forward",
    "rwkv_linear_attention_cpu",
)
SOURCES_ABOVE = ("RwkvForCausalLM.forward",)


def forwards(model: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of each module of an RwkvModel."""
    new: dict[Any, Callable[..., Any]] = {model: rolled_at_once(type(model).forward)}
    for block in model.blocks:
        new |= {block.attention: _attend, block.feed_forward: _feed_forward}
    return new


def forwards_above(model: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of an RwkvForCausalLM, which drops its mask."""
    return {model: masked(type(model).forward)}


def _attend(
    self: Any, hidden: Inputs, state: States | None = None, use_cache: bool = False
) -> tuple[Inputs, States | None]:
    """Map inputs by the time mixing, and write into `state` what follows them."""
    piece, at = current(), self.layer_id
    before = _shifted(hidden, None if state is None else state[1][:, :, at])
    k, v, r = (
        weights(hidden * share + before * (1 - share))
        for weights, share in (
            (self.key, self.time_mix_key),
            (self.value, self.time_mix_value),
            (self.receptance, self.time_mix_receptance),
        )
    )
    if state is None:
        z = k.new_full((len(k), k.shape[-1]), -torch.inf, dtype=torch.float32)
        mean = torch.zeros_like(z)
    else:
        numerator, denominator, maximum = (x[:, :, at].clone() for x in state[2:])
        some = denominator > 0
        divisor = torch.where(some, denominator, 1)
        z = torch.where(some, maximum + divisor.log(), -torch.inf)
        mean = numerator / divisor
    rate, bonus = self.time_decay.float().exp(), self.time_first.float()
    k, wide = k.float(), v.float()
    if k.shape[1] == 1 and piece.lengths is None:
        wkv, z, mean = weighted_average(k[:, 0], wide[:, 0], rate, bonus, z, mean, once)
        wkv = wkv[:, None]
    else:
        run = partial(calling, lengths=piece.lengths)
        wkv, z, mean = weighted_average(k, wide, rate, bonus, z, mean, run)
    if state is not None:
        state[1][:, :, at] = _last(hidden, state[1][:, :, at])
        read = z > -torch.inf
        state[2][:, :, at], state[3][:, :, at] = mean * read, read.float()
        state[4][:, :, at] = torch.where(read, z, -1e30)
    return self.output(r.sigmoid() * wkv.to(r.dtype)), state


def _feed_forward(
    self: Any, hidden: Inputs, state: States | None = None
) -> tuple[Inputs, States | None]:
    """Map inputs by the channel mixing, and write into `state` what follows them."""
    at = self.layer_id
    before = _shifted(hidden, None if state is None else state[0][:, :, at])
    k, r = (
        weights(hidden * share + before * (1 - share))
        for weights, share in (
            (self.key, self.time_mix_key),
            (self.receptance, self.time_mix_receptance),
        )
    )
    if state is not None:
        state[0][:, :, at] = _last(hidden, state[0][:, :, at])
    return r.sigmoid() * self.value(k.relu().square()), state


# Pickle looks a bound method up by its name, and so finds the library's own forward again.
_attend.__name__ = _feed_forward.__name__ = "forward"


def _shifted(hidden: Inputs, last: Float[Tensor, "batch dim"] | None) -> Inputs:
    """Return at each time the input before it, zeros or `last` before the first."""
    first = torch.zeros_like(hidden[:, 0]) if last is None else last.to(hidden.dtype)
    return torch.cat([first[:, None], hidden[:, :-1]], 1)


def _last(hidden: Inputs, before: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Return the last real input of each row, that from before where there is none."""
    lengths = current().lengths
    if lengths is None:
        return hidden[:, -1]
    at = (lengths - 1).clamp(0)
    last = hidden[torch.arange(len(hidden), device=hidden.device), at]
    return torch.where(lengths[:, None] > 0, last, before.to(last.dtype))
