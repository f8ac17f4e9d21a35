"""RecurrentGemma: the block around the RG-LRU, with its state in the cache.

The hub's library keeps that state on the module, where a second stream overwrites it, starts it
again at every piece of a prompt, and reads padding as input. Here it is in `past_key_values`, where
the layers of attention keep theirs; without a cache nothing is kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from statewise.compat.transformers.caches import put, with_room
from statewise.compat.transformers.pieces import (
    Given,
    calling,
    front,
    in_place_of,
    rolled,
    unrolled,
)
from statewise.mixers.parts.recurrent import once
from statewise.mixers.rg_lru import RGLRUState, gated
from statewise.ops.convolution import short_convolution

BLOCK = "RecurrentGemmaRecurrentBlock"
SOURCES = (
    "RecurrentGemmaModel.forward",
    "RecurrentGemmaRecurrentBlock.forward",
    "RecurrentGemmaRglru.forward",
    "RecurrentGemmaRglru._rnn_scan",
)


def forwards(model: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of each module of a RecurrentGemmaModel."""
    blocks = {
        number: layer.temporal_block
        for number, layer in enumerate(model.layers)
        if type(layer.temporal_block).__name__ == BLOCK
    }
    told = _told_of_padding(type(model).forward)
    # One state for h, one for the mark that anything was read.
    new = {model: with_room(told, blocks, len(model.layers), states=2)}
    return new | {block: _block(number) for number, block in blocks.items()}


def _told_of_padding(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the model's forward, so that its blocks see the mask."""

    @in_place_of(forward)
    def read(self: Any, given: Given) -> Any:
        mask = given.get("attention_mask")
        if isinstance(mask, Tensor) and mask.ndim == 2:
            given["real_inputs"] = mask
        return forward(**given)

    return read


def _block(number: int) -> Callable[..., Any]:
    """Return the forward of the recurrent block of layer `number`."""

    def forward(
        self: Any,
        input_states: Float[Tensor, "batch time dim"],
        position_ids: Int[Tensor, "batch_or_one time"],
        attention_mask: Tensor | None = None,
        use_cache: bool = True,
        past_key_values: Any = None,
        real_inputs: Tensor | None = None,
        **_options: Any,
    ) -> tuple[Float[Tensor, "batch time dim"], None]:
        """Map inputs; those of a row whose position is zero start it anew."""
        batch, time, _ = input_states.shape
        lengths, order = None, None
        if real_inputs is not None:
            lengths, order = front(real_inputs[:, -time:])
        x = rolled(input_states, order)
        first = rolled((position_ids == 0).expand(batch, time), order)

        layer = None if past_key_values is None else past_key_values.layers[number]
        layer = layer if hasattr(layer, "recurrent_states") else None
        y = self.act_fn(self.linear_y(x))
        x = self.linear_x(x)
        past = state = None
        if layer is not None and layer.has_previous_state[0]:
            past = layer.conv_states[0].mT
            state = RGLRUState(layer.recurrent_states[0], layer.recurrent_states[1])
        taps = self.conv_1d.weight[:, 0]
        x, past = short_convolution(x, taps, self.conv_1d.bias, initial=past, lengths=lengths)
        h, state = _recur(self.rg_lru, x, state, first, lengths)
        if layer is not None:
            put(layer, "conv", 0, past.mT)
            for place, leaf in enumerate(state):
                put(layer, "recurrent", place, leaf)
        return unrolled(self.linear_out(h * y), order), None

    return forward


def _recur(
    unit: Any,
    x: Float[Tensor, "batch time dim"],
    state: RGLRUState | None,
    first: Tensor,
    lengths: Tensor | None,
) -> tuple[Float[Tensor, "batch time dim"], RGLRUState]:
    """Return what the unit of the library's parameters answers, and its state."""
    blocks = x.unflatten(-1, (unit.num_attention_heads, -1))

    def gate(weight: Tensor, bias: Tensor) -> Tensor:
        return (torch.einsum("bthi,hio->btho", blocks, weight) + bias).flatten(2).float().sigmoid()

    i = gate(unit.input_gate_weight, unit.input_gate_bias)
    r = gate(unit.recurrent_gate_weight, unit.recurrent_gate_bias)
    if state is None:
        state = RGLRUState(i.new_zeros(len(x), i.shape[-1]), i.new_zeros(len(x), 1))
    rate = softplus(unit.recurrent_param.float())
    if x.shape[1] == 1 and lengths is None and not bool(first.any()):
        y, state = gated(x[:, 0], r[:, 0], i[:, 0], rate, state, once)
        return y[:, None], state
    run = partial(calling, reset=first, lengths=lengths)
    return gated(x, r, i, rate, state, run)
