r"""LION: linear attention to the whole sequence, as one recurrence from the left and one back.

Afzal et al., "Linear Attention for Efficient Bidirectional Sequence Modeling", 2025,
arXiv:2502.16249, sections 3 and 4.

    q_i, k_i, v_i = phi(W_q x_i), phi(W_k x_i), W_v x_i      of each head
    a_i = sigmoid(-w . x_i - b)                              of each head; or constant; or 1
    M_ij = a_j ... a_{i-1} for j < i,  1 for j = i,  a_{i+1} ... a_j for j > i
    o_i = sum_j M_ij (q_i . k_j) v_j / sum_j M_ij (q_i . k_j)
    y_i = W_out o_i                                          heads side by side

The sums are those of two recurrences, S_i = a_{i-1} S_{i-1} + k_i v_i^T from the left and
S_i = a_{i+1} S_{i+1} + k_i v_i^T from the right, both read as S_i - k_i v_i^T / 2, and divided
once. With a = 1 (LION-LIT) phi(u) = elu(u) + 1; with one decay a head for all times, sigmoid of a
parameter that starts normal (LION-D), or one that the input selects (LION-S), phi(u) = silu(u) +
1/2, divided by its norm.

Family   matrix state
Forms    chunkwise from both sides; a recurrence from both sides
State    none: it reads the whole sequence before it answers
Cost     O(time dim (dim + dim / heads)) work
Differs  No first token that is exempt from decay, and no scans in several orders, as the paper's
         code has them for images.
See also linear_attention.py, retention.py, bidirectional.py
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from statewise.mixers.base import WholeSequence, blank, state_dtype
from statewise.mixers.parts.both_ways import attend_both_ways
from statewise.mixers.parts.features import Elu, UnitSilu
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import divided

DECAYS = ("none", "constant", "selected")


class LION(WholeSequence):
    """Bidirectional linear attention.

    Args:
        dim: features read and answered.
        heads: parts of the features that attend apart.
        decay: "none" (LION-LIT), "constant" (LION-D) or "selected" by the input (LION-S).
    """

    def __init__(self, dim: int, *, heads: int = 4, decay: str = "selected"):
        super().__init__()
        if decay not in DECAYS:
            raise ValueError(f"lion: decay = {decay!r} should be one of {', '.join(DECAYS)}")
        divided("lion", heads, dim=dim)
        self.dim = self.out = dim
        self.heads = heads
        self.query_key_value = Projections(dim, heads, dim, dim, dim)
        self.features = (Elu if decay == "none" else UnitSilu)(dim // heads)
        self.rate = nn.Parameter(torch.randn(heads)) if decay == "constant" else None
        self.forget = Linear(dim, heads) if decay == "selected" else None
        self.output = Linear(dim, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map a whole sequence, from both ends."""
        x = blank(x, lengths)
        query, key, value = self.query_key_value(x)
        wide = state_dtype(x.dtype)
        log_decay = None
        if self.rate is not None:
            log_decay = logsigmoid(self.rate.to(wide)).expand(value.shape[:-1])
        elif self.forget is not None:
            log_decay = logsigmoid(-self.forget(x).to(wide))
        sums = attend_both_ways(
            self.features(query).to(wide),
            self.features(key).to(wide),
            pad(value.to(wide), (0, 1), value=1),
            log_decay=log_decay,
            lengths=lengths,
            reset=reset,
        )
        # Features of elu vanish in float32 below -17; those of silu do not.
        read = sums[..., :-1] / sums[..., -1:].clamp(min=1e-6)
        return blank(self.output(read.to(x.dtype).flatten(2)), lengths)

    @classmethod
    def example(cls) -> "LION":
        """Return a small instance."""
        return cls(dim=8, heads=2)
