r"""Gated DeltaNet: the delta rule on a memory that first forgets as a whole, as Mamba-2's does.

Yang, Kautz and Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024,
arXiv:2412.06464, section 3; the range of eigenvalues by Grazzi et al., 2024, arXiv:2411.12537.

    [q_t, k_t, v_t] = silu(convolution(W x_t))                  each feature over 4 inputs
    q_t, k_t = unit(q_t), unit(k_t)                             of each head; length one
    beta_t = sigmoid(W_b x_t)                                   a number a head; or twice that
    log a_t = -rate softplus(W_a x_t + b)                       a number a head
    S_t = a_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [silu(W_g x_t) * norm(o_t)]                     heads side by side

The transition's eigenvalue along k_t is a_t (1 - beta_t), and a_t elsewhere; with
`negative_eigenvalues` beta is in (0, 2) in place of (0, 1), and the former in (-1, 1). Rates start
uniform from 0.01 to 16, softplus(b) log-uniform from 0.001 to 0.1. What the norm divides by is the
root mean square of a head.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, value), and past, (batch, width - 1, 2 key + value of all heads):
         key * value / key heads + (width - 1) (2 key + value) numbers, with those of all heads
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
Differs  Rates start at 0.01 at least, where the authors' code draws from 0: its logarithm is kept.
See also delta_net.py, mamba2.py, gated_delta_product.py
"""

from statewise.mixers.parts.delta import GatedDelta


class GatedDeltaNet(GatedDelta):
    """The delta rule with a decay for each head.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of all keys together; three quarters of `dim` if absent.
        value: features of all values together; twice `key` if absent.
        width: inputs that the short convolution reads, the present one included.
        negative_eigenvalues: whether beta may exceed 1, up to 2.
        key_heads: heads of queries and keys, each of which serves as many heads in a row, as in
            Qwen3-Next; `heads` if absent.
        epsilon: what the norm adds to the mean square.
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
        key_heads: int | None = None,
        epsilon: float = 1e-5,
    ):
        sizes, further = (heads, key, value, width), (key_heads, epsilon)
        super().__init__("gated_delta_net", dim, *sizes, negative_eigenvalues, None, *further)

    @classmethod
    def example(cls) -> "GatedDeltaNet":
        """Return a small instance."""
        return cls(dim=8, heads=2)
