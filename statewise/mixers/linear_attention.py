r"""Linear attention: an average of all values so far, weighted by features of query and key.

Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
Attention", 2020, arXiv:2006.16236, sections 3.3 and 3.4.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t        of each head
    S_t = S_{t-1} + phi(k_t) v_t^T
    n_t = n_{t-1} + phi(k_t)
    o_t = S_t^T phi(q_t) / (n_t . phi(q_t))
    y_t = W_out o_t                                  heads side by side

phi(u) = elu(u) + 1, or another of parts/features.py. With `sized` phi(k_t) is multiplied by
softplus(w x_t + b), one number a head, and o_t = S_t^T phi(q_t): the input decides how much is
written, as in state-space models, and nothing divides (Sieber et al., 2024, arXiv:2405.15731).

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, features, value); n, (batch, heads, features): dim * dim / heads + dim
         numbers, where features are as many as the dimensions of a key
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  The divisor is at least `least`, where the paper's code adds as much to it.
See also based.py, fast_weights.py, gla.py
"""

from statewise.mixers.parts.features import FEATURES
from statewise.mixers.parts.normalized import Normalized


class LinearAttention(Normalized):
    """Causal linear attention.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together; `dim` if absent.
        features: the feature map: elu, hedgehog, taylor or unit_silu, which are positive.
        least: what the sum of the weights is at least, for features that underflow.
        sized: whether the input sizes keys, and no sum divides; n then stays zero.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key: int | None = None,
        features: str = "elu",
        least: float = 1e-6,
        sized: bool = False,
    ):
        if features not in FEATURES:
            raise ValueError(
                f"linear_attention: features = {features!r} should be one of {', '.join(FEATURES)}"
            )
        super().__init__(
            "linear_attention",
            dim,
            heads=heads,
            key=dim if key is None else key,
            features=FEATURES[features],
            least=least,
            sized=sized,
        )

    @classmethod
    def example(cls) -> "LinearAttention":
        """Return a small instance."""
        return cls(dim=8, heads=2)
