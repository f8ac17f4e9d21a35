r"""Gated DeltaProduct: a memory that forgets once a token, and is then corrected several times.

Siems et al., "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
2025, arXiv:2502.10297, section 3 and its experiments on language.

    [q_t, k_tj, v_tj] = silu(convolution(W x_t))                for j = 1 ... steps
    q_t, k_tj = unit(q_t), unit(k_tj)                           of each head; length one
    beta_tj = 2 sigmoid(W_b x_t)                                a number a head; or half of it
    log a_t = -rate softplus(W_a x_t + b)                       a number a head
    S_tj = (I - beta_tj k_tj k_tj^T) S_t(j-1) + beta_tj k_tj v_tj^T     from S_t0 = a_t S_(t-1)
    o_t = S_t^T q_t / sqrt(key)                                 of the last S_tj
    y_t = W_out [silu(W_g x_t) * norm(o_t)]                     heads side by side

It is delta_product.py with the decay, the gate, the sizes and the start of gated_delta_net.py.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, value), and past, (batch, width - 1, key + steps (key + value)), of
         all heads: key * value / heads + (width - 1) (key + steps (key + value)) numbers
Cost     O(time steps dim (dim + dim / heads)) work in `forward`; one time of it in `step`
Differs  Rates start at 0.01 at least, where the authors' code draws from 0: its logarithm is kept.
See also delta_product.py, gated_delta_net.py
"""

from statewise.mixers.parts.delta import GatedDelta


class GatedDeltaProduct(GatedDelta):
    """The delta rule, several times a token, with a decay for each head.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys of one step together; three quarters of `dim` if absent.
        value: features of all values of one step together; twice `key` if absent.
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
            "gated_delta_product", dim, heads, key, value, width, negative_eigenvalues, steps=steps
        )

    @classmethod
    def example(cls) -> "GatedDeltaProduct":
        """Return a small instance."""
        return cls(dim=8, heads=2, steps=3)
