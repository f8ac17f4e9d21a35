"""The state out of the hub library's caches, as a value, and back into them.

A state is a tuple with one dictionary of tensors for each layer, batch first, so that everything in
`statewise.state` works on it: save, fork, pick and stack rows. Which names a dictionary has depends
on the layer:

    conv.0, recurrent.0, ...   the inputs a short convolution still needs, and a recurrent state
    keys, values, seen         those of attention, and how many inputs it has read
    C, n, m, seen              the memory of an mLSTM (xLSTM)
    before_feed_forward, before_attention, numerator, denominator, maximum      (RWKV-4)

Layers without a memory have none.
"""

from typing import Any

import torch
from torch import Tensor

from statewise.compat.transformers.caches import put, recurrent_layer

__all__ = ["read_state", "write_state"]

Layer = dict[str, Tensor]
_RWKV = "before_feed_forward", "before_attention", "numerator", "denominator", "maximum"


def read_state(cache: Any) -> tuple[Layer, ...]:
    """Return what a cache holds, fresh tensors.

    Args:
        cache: what the library calls `past_key_values`, `cache_params`, or, for RWKV, `state`.

    Raises:
        TypeError: if it is no cache that we know.
    """
    if isinstance(cache, list | tuple):
        columns = zip(*(x.unbind(2) for x in cache), strict=True)
        return tuple(dict(zip(_RWKV, map(_fresh, layer), strict=True)) for layer in columns)
    if hasattr(cache, "rnn_state"):
        return tuple(
            {
                **{name: _fresh(x) for name, x in zip("Cnm", memory, strict=True)},
                "seen": _counted(int(cache.seqlen_offset), memory[0]),
            }
            for _, memory in sorted(cache.rnn_state.items())
        )
    if not hasattr(cache, "layers"):
        raise TypeError(f"read_state: a {type(cache).__name__} is no cache of the hub's library")
    state = [_read(layer) for layer in cache.layers]
    for number, kept in enumerate(getattr(cache, "linear_cache", [])):  # MiniMax
        state += [{} for _ in range(number + 1 - len(state))]
        if isinstance(kept, Tensor):
            state[number]["recurrent.0"] = _fresh(kept)
    return tuple(state)


def write_state(cache: Any, state: tuple[Layer, ...]) -> None:
    """Make a cache hold a state, of any batch, whatever it held before.

    The cache owns its tensors: it changes them in place, and the state stays as it is.

    Args:
        cache: of the kind that the state was read from, such as a new
            `DynamicCache(config=model.config)`.
        state: what `read_state` returned, or what `statewise.state` made of that.

    Raises:
        TypeError: if it is no cache that we know.
        ValueError: if the cache has another number of layers than the state, or other layers.
    """
    if isinstance(cache, list):
        _fit(len(state), cache[0].shape[2])
        for number, name in enumerate(_RWKV):
            cache[number] = torch.stack([_of(state, at, name) for at in range(len(state))], 2)
        return
    if hasattr(cache, "rnn_state"):
        _fit(len(state), len(cache.rnn_state))
        for number in cache.rnn_state:
            cache.rnn_state[number] = tuple(_fresh(_of(state, number, name)) for name in "Cnm")
        cache.seqlen_offset = state[0]["seen"][:1].clone()
        return
    if not hasattr(cache, "layers"):
        raise TypeError(f"write_state: a {type(cache).__name__} is no cache of the hub's library")
    if hasattr(cache, "linear_cache"):
        cache.linear_cache = [
            _fresh(layer["recurrent.0"]) if "recurrent.0" in layer else [] for layer in state
        ]
        state = tuple(
            {name: x for name, x in layer.items() if name != "recurrent.0"} for layer in state
        )
    if cache.layer_class_to_replicate is not None:  # it makes its layers as they are used
        count = len(state) - len(cache.layers)
        cache.layers += [cache.layer_class_to_replicate() for _ in range(count)]
    _fit(len(state), len(cache.layers))
    for number, values in enumerate(state):
        cache.layers[number] = _written(cache.layers[number], values, number)


def _read(layer: Any) -> Layer:
    """Return what a layer of a cache holds."""
    state = {}
    for kind in ("conv", "recurrent"):
        for number, x in getattr(layer, f"{kind}_states", {}).items():
            if x is not None:
                state[f"{kind}.{number}"] = _fresh(x)
    if getattr(layer, "is_initialized", False) and isinstance(layer.keys, Tensor):
        state |= {"keys": _fresh(layer.keys), "values": _fresh(layer.values)}
        state["seen"] = _counted(int(layer.get_seq_length()), layer.keys)
    return state


def _written(layer: Any, state: Layer, number: int) -> Any:
    """Return the layer with a state in it, another layer where it had no room for that."""
    from transformers.cache_utils import DynamicLayer  # pyright: ignore[reportMissingImports]

    recurrent = {name: x for name, x in state.items() if "." in name}
    if recurrent:
        numbers = {int(name.split(".")[1]) for name in recurrent}
        layer = recurrent_layer(layer, len(numbers))
    holds_keys = isinstance(layer, DynamicLayer)
    if "keys" in state and not holds_keys:
        raise ValueError(f"write_state: layer {number} of the cache has no room for keys")
    layer.reset()
    for name, x in recurrent.items():
        kind, place = name.split(".")
        put(layer, kind, int(place), _fresh(x))
    if "keys" in state:
        keys, values = _fresh(state["keys"]), _fresh(state["values"])
        DynamicLayer.lazy_initialization(layer, keys, values)
        layer.keys, layer.values = keys, values
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = int(state["seen"][0])
    return layer


def _of(state: tuple[Layer, ...], number: int, name: str) -> Tensor:
    if name not in state[number]:
        raise ValueError(f"write_state: layer {number} of the state has no {name}")
    return state[number][name]


def _fit(given: int, wanted: int) -> None:
    if given != wanted:
        raise ValueError(f"write_state: the state has {given} layers, and the cache {wanted}")


def _fresh(x: Tensor) -> Tensor:
    """Return a copy with the strides of x: some layers keep their state transposed."""
    return x.clone()


def _counted(seen: int, like: Tensor) -> Tensor:
    """Return how many inputs were read, for each row."""
    return torch.full((len(like),), seen, device=like.device)
