"""Room for recurrent states in the caches of the hub's library."""

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

from statewise.compat.transformers.pieces import Given, in_place_of


def with_room(
    forward: Callable[..., Any], recurrent: Collection[int], depth: int, states: int
) -> Callable[..., Any]:
    """Wrap a model's forward: the cache it is given has recurrent layers where the model has.

    Without them it counts a recurrent layer for one of attention that has read nothing, and so asks
    how much was read of a layer that does not know.

    Args:
        forward: of a model whose cache is `past_key_values`.
        recurrent: the numbers of its recurrent layers.
        depth: how many layers it has.
        states: how many tensors each of those keeps.
    """

    @in_place_of(forward)
    def read(self: Any, given: Given) -> Any:
        if (cache := given.get("past_key_values")) is not None:
            for number in range(depth):
                if number == len(cache.layers):
                    cache.layers.append(cache.layer_class_to_replicate())
                if number in recurrent:
                    cache.layers[number] = recurrent_layer(cache.layers[number], states)
        return forward(**given)

    return read


def put(layer: Any, kind: str, number: int, x: Tensor) -> None:
    """Let a recurrent layer of a cache hold a tensor: its `kind` is "conv" or "recurrent"."""
    getattr(layer, f"{kind}_states")[number] = x
    getattr(layer, f"is_{kind}_states_initialized")[number] = True
    layer.has_previous_state[number] = True
    layer.dtype, layer.device = x.dtype, x.device
    if kind == "conv":
        layer.conv_kernel_size[number] = x.shape[-1]


def recurrent_layer(layer: Any, states: int) -> Any:
    """Return the layer of a cache if it can keep a recurrent state, or else a new one that can."""
    if hasattr(layer, "recurrent_states"):
        return layer
    from transformers.cache_utils import (  # pyright: ignore[reportMissingImports]
        LinearAttentionLayer,
    )

    return LinearAttentionLayer(number_of_states=states)
