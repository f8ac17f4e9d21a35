r"""KDA: Kimi Delta Attention, the delta rule on a memory that forgets each key feature by itself.

Kimi Team, "Kimi Linear: An Expressive, Efficient Attention Architecture", 2025, arXiv:2510.26692,
section 3 and its neural parameterization; the range of eigenvalues by Grazzi et al., 2024,
arXiv:2411.12537.

    [q_t, k_t, v_t] = silu(convolution(W x_t))                  each feature over 4 inputs
    q_t, k_t = unit(q_t), unit(k_t)                             of each head; length one
    beta_t = sigmoid(W_b x_t)                                   a number a head; or twice that
    log a_t = -rate softplus(W_2 W_1 x_t + b)                   of each key feature
    S_t = (I - beta_t k_t k_t^T) diag(a_t) S_{t-1} + beta_t k_t v_t^T
    o_t = S_t^T q_t / sqrt(key)
    y_t = W_out [sigmoid(W_4 W_3 x_t + c) * norm(o_t)]          heads side by side

There is a rate for each head, which starts uniform from 1 to 16, and a b for each key feature, with
softplus(b) log-uniform from 0.001 to 0.1. W_1 and W_3 are as narrow as a head. With
`negative_eigenvalues` beta is in (0, 2) in place of (0, 1), and I - beta_t k_t k_t^T has
eigenvalues from -1 on. The norm divides each head by its root mean square.

Family   delta rule
Forms    chunkwise; step
State    S, (batch, heads, key, value), and past, (batch, width - 1, 3 dim): dim * dim / heads and
         3 (width - 1) dim numbers
Cost     O(time dim (dim + dim / heads)) work in `forward`; O(dim (dim + dim / heads)) in `step`
See also gated_delta_net.py, gla.py
"""

from torch import nn

from statewise.mixers.parts.clock import Clock
from statewise.mixers.parts.delta import Delta
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import divided


class KDA(Delta):
    """The delta rule with a decay for each key feature.

    Args:
        dim: features read and answered, of all keys, and of all values.
        heads: parts of the features that remember apart.
        rank: features between the two maps to the decay, and to the gate; `dim // heads` if absent.
        width: inputs that the short convolution reads, the present one included.
        negative_eigenvalues: whether beta may exceed 1, up to 2.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        rank: int | None = None,
        width: int = 4,
        negative_eigenvalues: bool = False,
    ):
        divided("kda", heads, dim=dim)
        each = dim // heads
        rank = each if rank is None else rank
        if rank < 1:
            raise ValueError(f"kda: rank = {rank} should be at least 1")
        decay, gate = (
            nn.Sequential(Linear(dim, rank, bias=False), Linear(rank, dim, bias=bias))
            for bias in (False, True)
        )
        super().__init__(
            "kda",
            dim,
            heads,
            dim,
            dim,
            width,
            negative_eigenvalues,
            log_decay=Clock(heads, decay, least=1.0, most=16.0, width=each),
            gate=gate.append(nn.Sigmoid()),
        )

    @classmethod
    def example(cls) -> "KDA":
        """Return a small instance."""
        return cls(dim=8, heads=2)
