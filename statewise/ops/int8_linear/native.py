"""The same in C++, for the few rows of x that decoding has."""

from jaxtyping import Float, Int8
from torch import Tensor

from statewise.ops.linear.few import FEW as FEW
from statewise.ops.linear.few import multiply


def int8_linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Int8[Tensor, "outputs inputs"],
    scale: Float[Tensor, " outputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return scale * (x weight') + bias, of which nothing is differentiated."""
    return multiply(x, weight, scale, bias)
