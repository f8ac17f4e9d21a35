"""Norms of what the heads of a mixer read and answer: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from statewise.mixers.base import state_dtype
from statewise.ops.rms_norm import rms_norm


class HeadNorm(nn.Module):
    """Each head's answer divided by its root mean square, or standardized; then scaled.

    It works in float32 or wider, and answers in the dtype of its input.

    Args:
        heads: how many.
        width: features of each.
        center: whether the mean is taken away first, as LayerNorm does (for each head: GroupNorm).
        shared: whether all heads share one scale.
        bias: whether something is added after the scale.
        eps: added to the mean square.
    """

    def __init__(
        self,
        heads: int,
        width: int,
        *,
        center: bool = False,
        shared: bool = False,
        bias: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.center, self.eps = center, eps
        shape = (width,) if shared else (heads, width)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape)) if bias else None

    def forward(
        self, x: Float[Tensor, "batch *time heads width"]
    ) -> Float[Tensor, "batch *time heads width"]:
        """Return x normalized."""
        wide = x.to(state_dtype(x.dtype))
        if self.center:
            y = layer_norm(wide, x.shape[-1:], eps=self.eps)
        else:
            y = rms_norm(wide, None, self.eps)
        y = y * self.weight.to(wide.dtype)
        return (y if self.bias is None else y + self.bias.to(wide.dtype)).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm`, by the core where nothing is recorded."""

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Return x over its root mean square."""
        if self.eps is None:
            return super().forward(x)
        return rms_norm(x, self.weight, self.eps)


class ZeroCenteredRMSNorm(nn.Module):
    """RMSNorm whose scale is one plus its weight, so that decaying the weight undoes the scale.

    Gemma and Qwen3-Next have it. It works in float32 or wider, as HeadNorm does.

    Args:
        width: features.
        eps: added to the mean square.
    """

    def __init__(self, width: int, *, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*axes width"]) -> Float[Tensor, "*axes width"]:
        """Return x normalized."""
        wide = state_dtype(x.dtype)
        y = rms_norm(x.to(wide), None, self.eps)
        return (y * (1 + self.weight.to(wide))).to(x.dtype)


def unit(x: Float[Tensor, "*axes width"], eps: float = 1e-6) -> Float[Tensor, "*axes width"]:
    """Return vectors of length one, or shorter where the square of x is not large beside `eps`.

    They come in float32 or wider: rounded to bfloat16 they would be longer than one, and the delta
    rule grows where a key is.
    """
    wide = x.to(state_dtype(x.dtype))
    return wide * torch.rsqrt(wide.square().sum(-1, keepdim=True) + eps)
