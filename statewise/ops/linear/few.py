"""A few rows of x times a matrix that is read once, by the core: no backend, but a part of one."""

from torch import Tensor, empty

from statewise import backends
from statewise.ops.custom import core, rows

FEW = 8
"""Rows of x at most, as in the core."""


def multiply(x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return x weight' + bias in float32, of which nothing is differentiated.

    Where there is a scale the weight is in int8, and x weight' is multiplied by the scale.
    """
    inputs, outputs = x.shape[-1], weight.shape[0]
    flat = rows(x if x.ndim == 2 else x.reshape(x.shape[:-1].numel(), inputs))
    y = empty((flat.shape[0], outputs))
    scale = None if scale is None else scale.contiguous()
    bias = None if bias is None else bias.contiguous()
    backends.run(core().multiply_few, flat, rows(weight), scale, bias, y)
    return y if x.ndim == 2 else y.view(*x.shape[:-1], outputs)
