"""xLSTM: the memory of the mLSTM, and a cache of the right shape.

The hub's library rounds the keys of its cache up to a multiple of 64, and then refuses it; reads
padding as input; and adds eps to a normalizer in units that depend on the maximum of the gates, so
that its forms differ by as much. There is no eps here: the normalizer is never below one.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from statewise.compat.transformers.pieces import Given, current, in_place_of, rolled_at_once
from statewise.ops.stabilized_attention import (
    stabilized_linear_attention,
    stabilized_linear_attention_step,
)

Keys = Float[Tensor, "batch heads time key"]
Values = Float[Tensor, "batch heads time value"]
Gates = Float[Tensor, "batch heads time"]
SOURCES = (
    "xLSTMModel.forward",
    "xLSTMCache.__init__",
    "xLSTMLayer.forward",
    "xLSTMBackend.forward",
    "mlstm_recurrent_step_native",
)


def forwards(model: Any) -> dict[Any, Callable[..., Any]]:
    """Return the new forward of each module of an xLSTMModel."""
    new: dict[Any, Callable[..., Any]] = {model: _with_cache(rolled_at_once(type(model).forward))}
    for block in model.blocks:
        new[block.mlstm_layer.mlstm_backend] = _remember
    return new


def _with_cache(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the model's forward: the cache it makes, or was given empty, has the layers' shapes."""

    @in_place_of(forward)
    def read(self: Any, given: Given) -> Any:
        cache, wanted = given.get("cache_params"), given.get("use_cache")
        wanted = getattr(self.config, "use_cache", False) if wanted is None else wanted
        x = given.get("input_ids")
        x = given.get("inputs_embeds") if x is None else x
        if x is None:
            return forward(**given)  # which says what is missing
        if self.training and self.gradient_checkpointing:
            wanted = False  # as the library has it
        if cache is None and wanted:
            make = inspect.unwrap(type(self).forward).__globals__["xLSTMCache"]
            cache = make(self.config, len(x), device=x.device, dtype=torch.float32)
            given["cache_params"] = cache
        if cache is not None:
            _shape(cache, self)
        return forward(**given)

    return read


def _shape(cache: Any, model: Any) -> None:
    """Give an empty cache the shapes of the model's layers, in float32."""
    layer = model.blocks[0].mlstm_layer
    key = layer.qk_dim // layer.config.num_heads
    C = cache.rnn_state[0][0]
    if C.shape[2] == key or cache.seqlen_offset.item() > 0:
        return
    value = layer.v_dim // layer.config.num_heads
    batch, heads = C.shape[:2]
    for number in cache.rnn_state:
        cache.rnn_state[number] = (
            C.new_zeros(batch, heads, key, value, dtype=torch.float32),
            C.new_zeros(batch, heads, key, dtype=torch.float32),
            C.new_zeros(batch, heads, 1, dtype=torch.float32),
        )


def _remember(
    self: Any,
    query: Keys,
    key: Keys,
    value: Values,
    igate: Gates,
    fgate: Gates,
    c_initial: Float[Tensor, "batch heads key value"] | None = None,
    n_initial: Float[Tensor, "batch heads key"] | None = None,
    m_initial: Float[Tensor, "batch heads one"] | None = None,
    return_last_states: bool | None = None,
    mode: str | None = None,
) -> tuple[Values, tuple[Tensor, Tensor, Tensor]]:
    """Return what the memory answers, and its state after the last input."""
    piece = current()
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    log_input = igate.transpose(1, 2).float()
    log_forget = logsigmoid(fgate.transpose(1, 2).float())
    initial = None
    if c_initial is not None and n_initial is not None and m_initial is not None:
        # The library writes what comes after into the same tensors, whose past a graph needs.
        given = (c_initial, n_initial, m_initial[..., 0])
        initial = (
            (given[0].clone(), given[1].clone(), given[2].clone())
            if torch.is_grad_enabled()
            else given
        )
    if q.shape[1] == 1 and piece.lengths is None and initial is not None:
        y, (C, n, m) = stabilized_linear_attention_step(
            q[:, 0],
            k[:, 0],
            v[:, 0],
            initial,
            log_input=log_input[:, 0],
            log_forget=log_forget[:, 0],
        )
        y = y[:, None]
    else:
        lengths = piece.lengths
        if lengths is not None:
            # The library reads a long input in parts, all layers of one before those of the next.
            done = piece.places.get(id(self), 0)
            piece.places[id(self)] = done + q.shape[1]
            lengths = (lengths - done).clamp(0, q.shape[1])
        y, (C, n, m) = stabilized_linear_attention(
            q, k, v, log_input=log_input, log_forget=log_forget, initial=initial, lengths=lengths
        )
    return y.transpose(1, 2).to(query.dtype), (C, n, m[..., None])


# Pickle looks a bound method up by its name, and so finds the library's own forward again.
_remember.__name__ = "forward"
