"""The definition: one input after another."""

from jaxtyping import Float, Int8
from torch import Tensor, promote_types


def int8_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Int8[Tensor, "outputs inputs"],
    scale: Float[Tensor, " outputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return scale * (x weight') + bias."""
    wide = promote_types(x.dtype, scale.dtype)
    y = x.new_zeros(*x.shape[:-1], len(weight), dtype=wide)
    for i in range(weight.shape[1]):
        y = y + x[..., i : i + 1] * weight[:, i]
    return scale * y if bias is None else scale * y + bias
