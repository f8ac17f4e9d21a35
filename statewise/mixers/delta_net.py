r"""DeltaNet: linear attention that replaces what its memory holds for a key, rather than adding.

Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", 2024,
arXiv:2406.06484, sections 2 and 3; the rule by Schlag et al., 2021, arXiv:2102.11174; the range of
eigenvalues by Grazzi et al., "Unlocking State-Tracking in Linear RNNs Through Negative
Eigenvalues", 2024, arXiv:2411.12537, section 4.

    [q_t, k_t, v_t] = silu(convolution(W x_t))                  each feature over 4 inputs
    q_t, k_t = unit(q_t), unit(k_t)                             of each head; length one
    beta_t = sigmoid(W_b x_t)                                   a number a head; or twice that
    S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out norm(o_t)                                       heads side by side

The transition's eigenvalue along k_t is 1 - beta_t: in (0, 1), it forgets. With
`negative_eigenvalues` beta is doubled and the eigenvalue in (-1, 1): beyond 0 what the state holds
for the key changes its sign, which counting modulo a number needs. The norm divides each head by
its root mean square.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, value), and past, (batch, width - 1, 2 key + value of all heads):
         key * value / heads + (width - 1) (2 key + value) numbers, with those of all heads together
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
See also gated_delta_net.py, delta_product.py, kda.py
"""

from statewise.mixers.parts.delta import Delta


class DeltaNet(Delta):
    """Linear attention by the delta rule.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together; `dim` if absent.
        value: features of all values together; `dim` if absent.
        width: inputs that the short convolution reads, the present one included.
        negative_eigenvalues: whether beta may exceed 1, up to 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key: int | None = None,
        value: int | None = None,
        width: int = 4,
        negative_eigenvalues: bool = False,
    ):
        super().__init__("delta_net", dim, heads, key, value, width, negative_eigenvalues)

    @classmethod
    def example(cls) -> "DeltaNet":
        """Return a small instance."""
        return cls(dim=8, heads=2)
