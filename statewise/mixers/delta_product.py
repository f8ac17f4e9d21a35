r"""DeltaProduct: several corrections by the delta rule at every token, so that states can rotate.

Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
2025, arXiv:2502.10297, section 3.

    [q_t, k_tj, v_tj] = silu(convolution(W x_t))                for j = 1 ... steps
    q_t, k_tj = unit(q_t), unit(k_tj)                           of each head; length one
    beta_tj = 2 sigmoid(W_b x_t)                                a number a head; or half of it
    S_tj = (I - beta_tj k_tj k_tj^T) S_t(j-1) + beta_tj k_tj v_tj^T     from S_t0 = S_(t-1)
    o_t = S_t^T q_t / sqrt(key)                                 of the last S_tj
    y_t = W_out norm(o_t)                                       heads side by side

The transition of a token is a product of Householder matrices: two reflections are a rotation, and
two steps permute what three keys hold. Without `negative_eigenvalues` beta is in (0, 1), and
nothing is reflected. The norm divides each head by its root mean square.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, value), and past, (batch, width - 1, key + steps (key + value)), of
         all heads: key * value / heads + (width - 1) (key + steps (key + value)) numbers
Cost     O(time steps dim (dim + dim / heads)) work in `forward`; one time of it in `step`
See also delta_net.py, gated_delta_product.py
"""

from statewise.mixers.parts.delta import Delta


class DeltaProduct(Delta):
    """The delta rule, several times a token.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys of one step together; `dim` if absent.
        value: features of all values of one step together; `dim` if absent.
        steps: corrections at each token.
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
        steps: int = 2,
        width: int = 4,
        negative_eigenvalues: bool = True,
    ):
        super().__init__(
            "delta_product", dim, heads, key, value, width, negative_eigenvalues, steps=steps
        )

    @classmethod
    def example(cls) -> "DeltaProduct":
        """Return a small instance."""
        return cls(dim=8, heads=2)
