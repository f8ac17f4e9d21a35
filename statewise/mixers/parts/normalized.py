"""What mixers share that divide linear attention by the sum of its weights: no mixer itself."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.linear_attention import linear_attention, normalized_linear_attention


class Sums(NamedTuple):
    """What normalized linear attention remembers."""

    S: Float[Tensor, "batch heads features value"]
    n: Float[Tensor, "batch heads features"]


class Normalized(Recurrent[Sums]):
    """An average of values by the features of a query and of their keys, for each head.

    Args:
        name: of the mixer, for what it refuses.
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together, before the feature map.
        features: makes the feature map of a head's queries or keys, given their width.
        least: what the sum of the weights is at least.
        sized: whether the input sizes keys, and no sum divides.
    """

    remembers = Sums

    def __init__(
        self,
        name: str,
        dim: int,
        *,
        heads: int,
        key: int,
        features: type,
        least: float,
        sized: bool = False,
    ):
        super().__init__()
        divided(name, heads, dim=dim, key=key)
        self.dim = self.out = dim
        self.heads, self.least = heads, least
        self.query_key_value = Projections(dim, heads, key, key, dim)
        self.query_features = features(key // heads)
        self.key_features = features(key // heads)
        self.output = Linear(dim, dim, bias=False)
        self.size = Linear(dim, heads) if sized else None

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of S and n."""
        n = (self.heads, self.key_features.out)
        return {"S": (*n, self.dim // self.heads), "n": n}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Sums, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], Sums]:
        """Map inputs."""
        query, key, value = self.query_key_value(x)
        query, key = self.query_features(query), self.key_features(key)
        if self.size is not None:
            key = key * softplus(self.size(x))[..., None]
            read, S = run(linear_attention, query, key, value, initial=state.S)
            return self.output(read.flatten(-2)), state._replace(S=S)
        read, sums = run(
            normalized_linear_attention,
            query,
            key,
            value,
            epsilon=self.least,
            initial=tuple(state),
        )
        return self.output(read.flatten(-2)), Sums(*sums)
