"""`use_native`: the recurrences of a loaded model of the hub's library, computed by our ops.

What is replaced is the forward of a module of this one model, not the library: other models stay as
they are. A mixer's new forward is the library's own, which finds our functions under the names of
theirs; where theirs cannot be right whatever they call, it is ours.
"""

import inspect
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from statewise.compat.transformers import (
    convolution,
    delta_rule,
    lightning_attention,
    mlstm,
    products,
    rg_lru,
    rwkv,
    selective_scan,
    state_space_duality,
)
from statewise.compat.transformers.pieces import by_pieces, recurrent_mask
from statewise.compat.transformers.rebinding import rebound
from statewise.compat.transformers.sources import installed, tested

__all__ = ["Native", "use_native"]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "causal_conv1d_fn": convolution.causal_conv1d_fn,
    "causal_conv1d_update": convolution.causal_conv1d_update,
    "mamba_selective_scan": selective_scan.mamba_selective_scan,
    "mamba_selective_state_update": selective_scan.mamba_selective_state_update,
    "mamba2_chunk_scan": state_space_duality.mamba2_chunk_scan,
    "mamba2_selective_state_update": state_space_duality.mamba2_selective_state_update,
    "torch_chunk_gated_delta_rule": delta_rule.gated_delta_rule,
    "torch_recurrent_gated_delta_rule": delta_rule.gated_delta_rule,
    "chunk_kimi_delta_attention": delta_rule.gated_delta_rule,
    "recurrent_kimi_delta_attention": delta_rule.gated_delta_rule,
}
"""Functions of a mixer's module, by their name there, and what stands in for each."""

MASKS: dict[str, Callable[..., Any]] = {"create_recurrent_attention_mask": recurrent_mask}
"""The same for the modules above the mixers."""

Forwards = dict[Any, Callable[..., Any]]
"""The new forward of each module."""

WHOLE: dict[str, tuple[Callable[[Any], Forwards], tuple[str, ...]]] = {
    "RecurrentGemmaModel": (rg_lru.forwards, rg_lru.SOURCES),
    "RwkvModel": (rwkv.forwards, rwkv.SOURCES),
    "RwkvForCausalLM": (rwkv.forwards_above, rwkv.SOURCES_ABOVE),
    "xLSTMModel": (mlstm.forwards, mlstm.SOURCES),
    "MiniMaxModel": (lightning_attention.forwards_above, lightning_attention.SOURCES_ABOVE),
    "MiniMaxLightningAttention": (lightning_attention.forwards, lightning_attention.SOURCES),
}
"""Classes whose forward is ours, or that of their parts, and the sources it takes the place of."""


@dataclass
class Native:
    """What `use_native` replaced in a model, what it left and why, and the way back.

    It is a context manager, which undoes the replacement at its end, and `str` of it is a report.
    """

    replaced: dict[nn.Module, str]
    """What now computes each module, in words."""
    left: dict[nn.Module, str]
    """Why each recurrent module stays as it was."""

    def undo(self) -> None:
        """Give the model its own functions back. A second call does nothing."""
        for module in self.replaced:
            vars(module).pop("forward", None)
        self.replaced = {}

    def __enter__(self) -> "Native":
        return self

    def __exit__(self, *_error: object) -> None:
        self.undo()

    def __str__(self) -> str:
        lines = [
            f"{'left as it was' if tree is self.left else 'replaced'}: {count} {kind}: {what}"
            for tree in (self.replaced, self.left)
            for (kind, what), count in Counter(
                (type(module).__name__, what) for module, what in tree.items()
            ).items()
        ]
        return "\n".join(lines) or "nothing recurrent was found"


def use_native(model: nn.Module) -> Native:
    """Compute the recurrences of a model of the hub's library by our ops, in place.

    Where there are any, and our products are faster than torch's on this machine, so are its linear
    maps. Training, a whole sequence, pieces of one and `generate` then run on them, with the
    library's own caches. `generate`, `save_pretrained` and the weights are not touched.

    Args:
        model: of the library's class, loaded or just made, on a CPU.

    Returns:
        What was replaced and what was left. Keep it to `undo` the replacement, use it in a `with`,
        or print it.

    Warns:
        UserWarning: if a recurrent module is left as it was, with the reason: its source is one
            that this version was not tested with, say.
    """
    native = Native({}, {})
    for module in model.modules():
        kind = type(module)
        if module in native.replaced or not kind.__module__.startswith("transformers.models."):
            continue
        if not (sources := sources_of(kind)):
            continue
        home = sys.modules[kind.__module__]
        unknown = [name for name in sources if not tested(home, name)]
        if unknown:
            native.left[module] = f"{unknown[0]} is not a source we have tested"
            continue
        what, forwards = _planned(module, sources)
        if taken := [part for part in forwards if _is_replaced(part)]:
            native.left[module] = f"the forward of a {type(taken[0]).__name__} is replaced already"
            continue
        for part, forward in forwards.items():
            part.forward = MethodType(forward, part)
            native.replaced[part] = what
    maps = [map for map in model.modules() if products.faster(map) and not _is_replaced(map)]
    for map in maps if native.replaced else ():
        map.forward = MethodType(products.forward, map)
        native.replaced[map] = products.WHAT
    if native.left:
        warnings.warn(f"transformers {installed()}: {native}", stacklevel=2)
    return native


def _planned(module: nn.Module, sources: tuple[str, ...]) -> tuple[str, Forwards]:
    """Return what would compute a module, and how."""
    kind = type(module)
    if kind.__name__ in WHOLE:
        return "the whole of it", WHOLE[kind.__name__][0](module)
    own = {name: (FUNCTIONS | MASKS)[name] for name in sources if name in FUNCTIONS | MASKS}
    forward = rebound(kind.forward, own)
    forward = forward if own.keys() <= MASKS.keys() else by_pieces(forward)
    return ", ".join(own), {module: forward}


def _is_replaced(module: nn.Module) -> bool:
    """Return whether a module's forward is another than its class's, by us or by anybody."""
    own = vars(module).get("forward")
    return own is not None and getattr(own, "__func__", None) is not type(module).forward


def sources_of(kind: type) -> tuple[str, ...]:
    """Return the names, in the module of a class of the library, of all that we take the place of.

    None if it has no recurrence that we know.
    """
    if kind.__name__ in WHOLE:
        return WHOLE[kind.__name__][1]
    forward = inspect.unwrap(getattr(kind, "forward", None) or kind)
    called = forward.__code__.co_names if isinstance(forward, FunctionType) else ()
    if inner := tuple(name for name in called if name in FUNCTIONS):
        return (f"{kind.__name__}.forward", *inner)
    # Above the mixers nothing but the mask is ours, and any forward will do.
    return tuple(name for name in called if name in MASKS)
