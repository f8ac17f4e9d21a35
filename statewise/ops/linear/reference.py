"""The definition: one input after another."""

from jaxtyping import Float
from torch import Tensor


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return x weight' + bias."""
    y = x.new_zeros(*x.shape[:-1], len(weight)) if bias is None else bias.expand(*x.shape[:-1], -1)
    for i in range(weight.shape[1]):
        y = y + x[..., i : i + 1] * weight[:, i]
    return y
