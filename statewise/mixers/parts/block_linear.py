"""Linear maps that are block-diagonal, of which head by head is one case: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BlockLinear(nn.Module):
    """A square linear map, without a bias, in blocks along its diagonal.

    Args:
        dim: features read and answered.
        size: of a block; it divides `dim`.
        deviation: of the normal numbers that the blocks start with.
    """

    def __init__(self, dim: int, size: int, *, deviation: float):
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.randn(dim // size, size, size) * deviation)

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Return each part of x times its block."""
        parts = x.unflatten(-1, (-1, self.size))
        return torch.einsum("...bi,boi->...bo", parts, self.weight).flatten(-2)
