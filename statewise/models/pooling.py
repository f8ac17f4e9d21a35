"""From a sequence to one vector: its mean, its largest, its last, or what attention looks at.

Attention as Yang et al. have it, "Hierarchical Attention Networks for Document Classification",
NAACL 2016, section 2.2; with more layers, the deep attention of Baziotis et al., "NTUA-SLP at
SemEval-2018 Task 1", 2018, arXiv:1804.06658, section 3.

    e_t = v . tanh(W h_t + b),  a = softmax(e) over what is real,  y = sum_t a_t h_t
"""

import abc
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statewise.mixers.base import blank, within


class Pooling(nn.Module, abc.ABC):
    """A vector from each sequence; of an empty one it is zero.

    Args:
        dim: features of each time.
        both_ways: whether the second half of the features was read from the right.
    """

    def __init__(self, dim: int, *, both_ways: bool = False):
        super().__init__()
        self.dim, self.both_ways = dim, both_ways

    @abc.abstractmethod
    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return a vector for each row; what is beyond its length is not read."""


class Mean(Pooling):
    """The mean over time."""

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the mean of each row."""
        return blank(x, lengths).sum(1) / lengths.clamp(min=1)[:, None]


class Max(Pooling):
    """The largest over time, feature by feature."""

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the largest of each row."""
        if not x.shape[1]:
            return x.new_zeros(len(x), self.dim)
        real = within(lengths, x.shape[1])[..., None]
        return torch.where(lengths[:, None] > 0, torch.where(real, x, -math.inf).amax(1), 0)


class Last(Pooling):
    """What was answered last: read from the right, after the first word."""

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the last answer of each row, in either direction."""
        if not x.shape[1]:
            return x.new_zeros(len(x), self.dim)
        last = x[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]
        if self.both_ways:
            half = self.dim // 2
            last = torch.cat([last[:, :half], x[:, 0, half:]], 1)
        return torch.where(lengths[:, None] > 0, last, 0)


class Attention(Pooling):
    """A mean over time, weighted by what the model has learned to look at.

    Args:
        dim: features of each time.
        both_ways: of no matter here.
        layers: of the network that scores each time.
    """

    def __init__(self, dim: int, *, both_ways: bool = False, layers: int = 1):
        super().__init__(dim, both_ways=both_ways)
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.Linear(dim, dim), nn.Tanh()]
        self.score = nn.Sequential(*parts, nn.Linear(dim, 1, bias=False))

    def weights(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time"]:
        """Return how much each time counts: they add up to 1, and are 0 in the padding."""
        real = within(lengths, x.shape[1])
        score = self.score(blank(x, lengths))[..., 0].float()
        # Not -inf: a row without any word would be NaN.
        score = torch.where(real, score, torch.finfo(score.dtype).min)
        return torch.where(real, score.softmax(1), 0).to(x.dtype)

    def forward(
        self, x: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the weighted mean of each row."""
        return torch.einsum("btd,bt->bd", blank(x, lengths), self.weights(x, lengths))


POOLINGS: dict[str, type[Pooling]] = {
    "attention": Attention,
    "mean": Mean,
    "max": Max,
    "last": Last,
}
"""By the names that a configuration has for them."""
