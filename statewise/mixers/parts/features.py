"""Feature maps of queries and keys, which stand for the exponential of softmax: no mixer itself.

Each is made as `Map(width)` and maps a last axis of `width` to one of `out` features.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import elu, relu, silu

from statewise.mixers.parts.linear import Linear

Features = Float[Tensor, "*axes width"]


class Elu(nn.Module):
    """elu(x) + 1, which is positive (Katharopoulos et al., 2020, arXiv:2006.16236, section 3.2)."""

    def __init__(self, width: int):
        super().__init__()
        self.out = width

    def forward(self, x: Features) -> Features:
        """Return the features."""
        return elu(x) + 1


class Hedgehog(nn.Module):
    """softmax of (2 W x + 2 b, -2 W x - 2 b) (Zhang et al., 2024, arXiv:2402.04347, section 4.2).

    W is the identity at first. The paper's formula has the exponential alone; the softmax is its
    code's, which cannot overflow.
    """

    def __init__(self, width: int):
        super().__init__()
        self.out = 2 * width
        self.map = Linear(width, width)
        nn.init.eye_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, x: Features) -> Float[Tensor, "*axes out"]:
        """Return the features."""
        y = 2 * self.map(x)
        return torch.cat([y, -y], -1).softmax(-1)


class DPFP(nn.Module):
    """Products of features with their neighbours (Schlag et al., 2021, arXiv:2102.11174, sec. 5.3).

    With r = (relu(x), relu(-x)), the features are r_j r_{j-i} for i = 1 to `reach`, around the end:
    2 * width * reach of them, few of which are not zero.
    """

    def __init__(self, width: int, reach: int = 1):
        super().__init__()
        self.out, self.reach = 2 * width * reach, reach

    def forward(self, x: Features) -> Float[Tensor, "*axes out"]:
        """Return the features."""
        r = relu(torch.cat([x, -x], -1))
        return torch.cat([r * r.roll(i, -1) for i in range(1, self.reach + 1)], -1)


class Taylor(nn.Module):
    """The exponential's series to the square (Arora et al., 2024, arXiv:2402.18668, section 4.1).

    phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(width), which is positive. Products of
    two features are kept once: 1 + width + width (width + 1) / 2 features.
    """

    def __init__(self, width: int):
        super().__init__()
        self.out = 1 + width + width * (width + 1) // 2

    def forward(self, x: Features) -> Float[Tensor, "*axes out"]:
        """Return the features."""
        width = x.shape[-1]
        x = x * width**-0.25
        i, j = torch.triu_indices(width, width, device=x.device)
        pairs = x[..., i] * x[..., j] * (1 - 0.5 * (i == j).to(x.dtype)).sqrt()
        return torch.cat([torch.ones_like(x[..., :1]), x, pairs], -1)


class UnitSilu(nn.Module):
    """silu(x) + 1/2 divided by its norm, which is positive (Afzal et al., 2025, arXiv:2502.16249).

    The least that silu reaches is -0.2785.
    """

    def __init__(self, width: int):
        super().__init__()
        self.out = width

    def forward(self, x: Features) -> Features:
        """Return the features."""
        y = silu(x) + 0.5
        return y / y.norm(dim=-1, keepdim=True)


FEATURES = {
    "elu": Elu,
    "hedgehog": Hedgehog,
    "taylor": Taylor,
    "unit_silu": UnitSilu,
}
"""Positive feature maps, by the names that options have for them.

Of features that may all vanish, as those of DPFP, the sum that an average is divided by comes near
zero, where neither it nor its gradient means anything.
"""
