r"""Fast weights: a slow network programs a fast one, which corrects what it holds for a key.

Schlag, Irie and Schmidhuber, "Linear Transformers Are Secretly Fast Weight Programmers", 2021,
arXiv:2102.11174, sections 4 and 5.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t                of each head
    beta_t = sigmoid(w_beta . x_t)                           one a head
    q'_t, k'_t = phi(q_t) / sum(phi(q_t)), phi(k_t) / sum(phi(k_t))
    S_t = S_{t-1} + beta_t k'_t (v_t - S_{t-1}^T k'_t)^T     the delta rule
    y_t = W_out [S_t^T q'_t]                                 heads side by side

phi is the deterministic parameter-free projection (DPFP): with r = (relu(u), relu(-u)) its features
are r_j r_{j-i} for i = 1 to `reach`, around the end. None is negative and they sum to one, so that
|k'| <= 1 and the eigenvalues of the correction stay in [0, 1].

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, features, value) with features = 2 reach key: 2 reach dim * dim / heads
         numbers
Cost     O(time dim (dim + features)) work in `forward`; O(dim (dim + features)) in `step`
Differs  The sum is at least 1e-6, for features that are all zero. The output is not divided by
         sqrt(key), as the paper's code does and its equations do not.
See also linear_attention.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.features import DPFP
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run, divided
from statewise.ops.delta_rule import delta_rule


class FastWeightsState(NamedTuple):
    """What fast weights remember."""

    S: Float[Tensor, "batch heads features value"]


class FastWeights(Recurrent[FastWeightsState]):
    """A fast weight programmer with the delta rule.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        reach: how far the feature map multiplies features, 1 to 3 in the paper.
    """

    remembers = FastWeightsState

    def __init__(self, dim: int, *, heads: int = 4, reach: int = 1):
        super().__init__()
        self.dim = self.out = dim
        self.heads = heads
        divided("fast_weights", heads, dim=dim)
        if not 1 <= reach < 2 * dim // heads:
            raise ValueError(
                f"fast_weights: reach = {reach} should be from 1 to less than {2 * dim // heads}, "
                "twice the features of a head"
            )
        self.features = DPFP(dim // heads, reach)
        self.project = Projections(dim, heads, dim, dim, dim, heads)
        self.output = Linear(dim, dim, bias=False)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of S."""
        return {"S": (self.heads, self.features.out, self.dim // self.heads)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: FastWeightsState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], FastWeightsState]:
        """Map inputs."""
        query, key, value, beta = self.project(x)
        wide = state_dtype(x.dtype)
        query, key = (self._shares(part.to(wide)) for part in (query, key))
        beta = beta[..., 0].to(wide).sigmoid()
        read, S = run(delta_rule, query, key, value, beta, initial=state.S)
        return self.output(read.flatten(-2)), FastWeightsState(S)

    def _shares(
        self, x: Float[Tensor, "batch *time heads key"]
    ) -> Float[Tensor, "batch *time heads features"]:
        features = self.features(x)
        return features / features.sum(-1, keepdim=True).clamp(min=1e-6)

    @classmethod
    def example(cls) -> "FastWeights":
        """Return a small instance."""
        return cls(dim=8, heads=2)
