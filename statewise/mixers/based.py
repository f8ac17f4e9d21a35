r"""Based: linear attention whose features are the exponential's series to the square.

Arora et al., "Simple Linear Attention Language Models Balance the Recall-Throughput Tradeoff",
2024, arXiv:2402.18668, section 4.1.

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t        of each head; q and k are narrow
    S_t = S_{t-1} + phi(k_t) v_t^T
    n_t = n_{t-1} + phi(k_t)
    o_t = S_t^T phi(q_t) / (n_t . phi(q_t))
    y_t = W_out o_t                                  heads side by side

phi(q) . phi(k) = 1 + s + s^2 / 2 with s = q . k / sqrt(key): it is at least 1/2.

Family   matrix state
Forms    chunkwise; step
State    S, (batch, heads, features, value); n, (batch, heads, features), with features = 1 + key +
         key (key + 1) / 2: 153 (dim + heads) numbers with 16 features a key
Cost     O(time dim (dim + features)) work in `forward`; O(dim (dim + features)) in `step`
Differs  Products of two features are kept once, not twice. The sliding windows and the short
         convolutions beside it in the paper's stack are branches of their own.
See also linear_attention.py, jrt.py, attention.py
"""

from statewise.mixers.parts.features import Taylor
from statewise.mixers.parts.normalized import Normalized


class Based(Normalized):
    """Linear attention with a Taylor feature map.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of each head's queries and keys.
    """

    def __init__(self, dim: int, *, heads: int = 4, key: int = 16):
        # The sum of the weights is never below a half.
        super().__init__("based", dim, heads=heads, key=heads * key, features=Taylor, least=1e-12)

    @classmethod
    def example(cls) -> "Based":
        """Return a small instance."""
        return cls(dim=8, heads=2, key=3)
