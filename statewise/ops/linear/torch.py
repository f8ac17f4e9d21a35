"""Torch's own, by the library of matrix products that it was built with."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return x weight' + bias."""
    return functional.linear(x, weight, bias)
