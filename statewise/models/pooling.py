"""From a sequence to one vector: its mean, its largest, its last, or what attention looks at.

Attention as Yang et al. have it, "Hierarchical Attention Networks for Document Classification",
NAACL 2016, section 2.2; with more layers, the deep attention of Baziotis et al., "NTUA-SLP at
SemEval-2018 Task 1", 2018, arXiv:1804.06658, section 3.

    e_t = v . tanh(W h_t + b),  a = softmax(e) over what is real,  y = sum_t a_t h_t

What is known of each time beside its features may have a say in e_t: see `conditioning.py`.
"""

import abc
import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from statewise.mixers.base import blank, within
from statewise.models.conditioning import CONDITIONS, Condition
from statewise.models.configuration import Configuration

Poolings = Annotated[list[Literal["attention", "mean", "max", "last"]], Field(min_length=1)]

ConditionName = Literal["concatenation", "gate", "affine"]


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
        layers: of the network that scores each time; if absent 1, or as many as the condition was
            published with.
        condition: what is scored in place of the features, by what is known of each time.
    """

    def __init__(
        self,
        dim: int,
        *,
        both_ways: bool = False,
        layers: int | None = None,
        condition: Condition | None = None,
    ):
        super().__init__(dim, both_ways=both_ways)
        self.condition = condition
        read = dim if condition is None else condition.out
        if layers is None:
            layers = 1 if condition is None else condition.layers
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [nn.Linear(read, dim), nn.Tanh()]
            read = dim
        self.score = nn.Sequential(*parts, nn.Linear(read, 1, bias=False))

    def weights(
        self,
        x: Float[Tensor, "batch time dim"],
        lengths: Int[Tensor, " batch"],
        known: Float[Tensor, "batch time known"] | None = None,
    ) -> Float[Tensor, "batch time"]:
        """Return how much each time counts: they add up to 1, and are 0 in the padding.

        Args:
            x: features of each time.
            lengths: of the rows.
            known: what the condition reads beside them.

        Raises:
            ValueError: if there is a condition and nothing for it to read.
        """
        real = within(lengths, x.shape[1])
        scored = blank(x, lengths)
        if self.condition is not None:
            if known is None:
                raise ValueError("this attention is conditioned on numbers, and there are none")
            scored = self.condition(scored, blank(known, lengths))
        score = self.score(scored)[..., 0].float()
        # Not -inf: a row without any word would be NaN.
        score = torch.where(real, score, torch.finfo(score.dtype).min)
        return torch.where(real, score.softmax(1), 0).to(x.dtype)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        lengths: Int[Tensor, " batch"],
        known: Float[Tensor, "batch time known"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        """Return the weighted mean of each row."""
        return torch.einsum("btd,bt->bd", blank(x, lengths), self.weights(x, lengths, known))


POOLINGS: dict[str, type[Pooling]] = {
    "attention": Attention,
    "mean": Mean,
    "max": Max,
    "last": Last,
}
"""By the names that a configuration has for them."""

Layers = Annotated[int, Field(ge=0)]


class PoolingConfig(Configuration):
    """What makes one vector of a text.

    Args:
        pooling: one or several, side by side: "attention", "mean", "max", "last".
        attention_layers: of the network by which attention scores each word; null for as many as
            were published: 1, and above a gate or an affine map 0.
        condition: how what a lexicon knows of words reaches that score: "concatenation", "gate" or
            "affine", see `statewise.models.conditioning`; null for not at all.
    """

    pooling: Poolings = Field(default_factory=lambda: ["attention", "max"])
    attention_layers: Layers | None = None
    condition: ConditionName | None = None


class Pools(nn.ModuleList):
    """Several poolings, side by side.

    Args:
        config: which.
        dim: features of each time.
        both_ways: whether the second half of the features was read from the right.
        known: numbers that are known of each time beside them.

    Raises:
        ValueError: for options of attention where there is none, or a condition of nothing.
    """

    def __init__(self, config: PoolingConfig, dim: int, *, both_ways: bool, known: int):
        super().__init__()
        self.dim = dim
        asked = {"attention_layers": config.attention_layers, "condition": config.condition}
        for name, value in asked.items():
            if value is not None and "attention" not in config.pooling:
                raise ValueError(
                    f"{name} = {value} is of attention, and the pooling is "
                    f"{', '.join(config.pooling)}"
                )
        if config.condition is not None and not known:
            raise ValueError(f"condition = {config.condition} needs a lexicon, and there is none")
        for name in config.pooling:
            if name != "attention":
                self.append(POOLINGS[name](dim, both_ways=both_ways))
                continue
            name = config.condition
            condition = None if name is None else CONDITIONS[name](dim, known)
            self.append(Attention(dim, layers=config.attention_layers, condition=condition))

    @property
    def out(self) -> int:
        """Features of all vectors together."""
        return self.dim * len(self)

    def forward(
        self, x: Float[Tensor, "batch time read"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch out"]:
        """Return the vectors of each row, side by side.

        Args:
            x: features of each time, and after them what is known of it.
            lengths: of the rows.
        """
        x, known = x[..., : self.dim], x[..., self.dim :]
        found = [
            pool(x, lengths, known) if isinstance(pool, Attention) else pool(x, lengths)
            for pool in self
        ]
        return torch.cat(found, 1)

    def weights(
        self, x: Float[Tensor, "batch time read"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time"]:
        """Return how much each time counts; of several poolings by attention, the mean.

        Raises:
            ValueError: if there is none.
        """
        x, known = x[..., : self.dim], x[..., self.dim :]
        attentive = [pool for pool in self if isinstance(pool, Attention)]
        if not attentive:
            raise ValueError("no pooling is by attention")
        return torch.stack([pool.weights(x, lengths, known) for pool in attentive]).mean(0)
