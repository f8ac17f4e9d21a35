"""The short convolution before a recurrence, with the signatures of the hub's library.

Inputs there are (batch, dim, time), and its cache keeps the last `width` of them, one more than the
next output needs.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad, silu

from statewise.compat.transformers.pieces import Piece, current
from statewise.ops.convolution import short_convolution

Inputs = Float[Tensor, "batch dim time"]


def causal_conv1d_fn(
    hidden_states: Inputs,
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    activation: str | None = None,
    **_options: Any,
) -> Inputs:
    """Return the convolution of all inputs, those that the cache put before them included.

    Where a row has padding, what the cache keeps is mended: the library keeps the last columns,
    padding or not.
    """
    piece = current()
    if piece.layer is not None and piece.lengths is not None and not piece.layer.record_past:
        _keep_last_real(hidden_states, piece)
    x = hidden_states.transpose(1, 2).to(weight.dtype)
    y, _ = short_convolution(x, weight, bias)
    return activated(y, activation).transpose(1, 2).to(hidden_states.dtype)


def causal_conv1d_update(
    hidden_states: Float[Tensor, "batch dim one"],
    conv_state: Float[Tensor, "batch dim width"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    activation: str | None = None,
) -> Float[Tensor, "batch dim one"]:
    """Return one output, and write the last inputs into `conv_state`."""
    seen = torch.cat([conv_state[..., 1:], hidden_states], -1).to(weight.dtype)
    y = (seen * weight).sum(-1)
    conv_state.copy_(current().kept(seen.to(conv_state.dtype), conv_state))
    y = y if bias is None else y + bias
    return activated(y, activation)[..., None].to(hidden_states.dtype)


def activated(y: Tensor, activation: str | None) -> Tensor:
    """Return what the library's activation of that name makes of y."""
    if activation is None:
        return y
    if activation in ("silu", "swish"):
        return silu(y)
    from transformers.activations import ACT2FN  # pyright: ignore[reportMissingImports]

    return ACT2FN[activation](y)


def _keep_last_real(hidden_states: Inputs, piece: Piece) -> None:
    """Write the last real inputs of each row into the cache."""
    assert piece.lengths is not None
    width = piece.layer.conv_kernel_size[0]
    known = hidden_states.shape[-1] - piece.time  # inputs from before this piece, or zeros
    column = piece.lengths[:, None] + known + torch.arange(width, device=hidden_states.device)
    column = column[:, None].expand(-1, hidden_states.shape[1], -1)
    # Zeros stand before the first input, and move every column by `width`.
    piece.layer.conv_states[0].copy_(pad(hidden_states, (width, 0)).gather(2, column))
