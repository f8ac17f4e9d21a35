r"""JRT: linear attention that reads a prefix twice, first as a whole and then in order.

Arora et al., "Just Read Twice: Closing the Recall Gap for Recurrent Language Models", 2024,
arXiv:2407.05483, section 4 (JRT-RNN, prefix linear attention).

    q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t        of each head
    k'_j, v'_j = W'_k x_j, W'_v x_j                  of the prefix, j = 1 ... prefix
    S_0, n_0 = sum_j phi(k'_j) v'_j^T, sum_j phi(k'_j)
    S_t = S_{t-1} + phi(k_t) v_t^T
    n_t = n_{t-1} + phi(k_t)
    o_t = S_t^T phi(q_t) / (n_t . phi(q_t))          at all t, those of the prefix included
    y_t = W_out o_t                                  heads side by side

phi is the Taylor map of based.py, of which this is the same recurrence from another start. After
the prefix it is causal: `model.causal`, started from `model.encode(prefix)`, reads on step by step.

Family   matrix state
Forms    chunkwise; after the prefix, step
State    none of its own: it reads the whole prefix before it answers. That of `causal` is Based's
Cost     O(time dim (dim + features)) work, features = 1 + key + key (key + 1) / 2
Differs  A prefix shorter than `prefix` is what there is, where the paper pads it on the left. Each
         reset begins a prefix anew.
See also based.py, lion.py
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from statewise.mixers.base import WholeSequence, blank, state_dtype, within
from statewise.mixers.based import Based
from statewise.mixers.parts.both_ways import attend_both_ways
from statewise.mixers.parts.heads import Projections
from statewise.mixers.parts.normalized import Sums
from statewise.mixers.parts.positions import positions
from statewise.ops.linear_attention import linear_attention


class JRT(WholeSequence):
    """Prefix linear attention.

    Args:
        dim: features read and answered.
        heads: parts of the features that remember apart.
        key: features of each head's queries and keys.
        prefix: how many inputs are read as a whole.
    """

    def __init__(self, dim: int, *, heads: int = 4, key: int = 16, prefix: int = 64):
        super().__init__()
        if prefix < 1:
            raise ValueError(f"jrt: prefix = {prefix} should be at least 1")
        self.causal = Based(dim, heads=heads, key=key)
        self.dim = self.out = dim
        self.prefix = prefix
        self.key_value = Projections(dim, heads, heads * key, dim)

    def encode(
        self, x: Float[Tensor, "batch time dim"], *, lengths: Int[Tensor, " batch"] | None = None
    ) -> Sums:
        """Return the state that `causal` starts from: what all of a prefix adds to it."""
        wide = state_dtype(x.dtype)
        key, value = self._encoded(blank(x, lengths))
        if lengths is not None:
            # Not before the feature map, of which zero has a one among its features.
            key = torch.where(within(lengths, x.shape[1])[..., None, None], key, 0)
        key, value = key.to(wide), value.to(wide)
        return Sums(torch.einsum("bthk,bthv->bhkv", key, value), key.sum(1))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        *,
        lengths: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time out"]:
        """Map a whole sequence."""
        if reset is None:
            start = self.encode(x[:, : self.prefix], lengths=lengths)
            return self.causal(x, start, lengths=lengths)[0]
        # Every segment has a prefix, whose sum at each time is what stands before it and after it.
        x, masks = blank(x, lengths), {"reset": reset, "lengths": lengths}
        wide = state_dtype(x.dtype)
        query, *written = self.causal.query_key_value(x)
        query = self.causal.query_features(query).to(wide)
        key, value = self.causal.key_features(written[0]).to(wide), written[1].to(wide)
        begun = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        inside = positions(x, initial=begun, **masks)[0] < self.prefix
        first, content = (part.to(wide) for part in self._encoded(x))
        first = torch.where(inside[..., None, None], first, 0)
        sums = attend_both_ways(query, first, pad(content, (0, 1), value=1), **masks)
        sums = sums + linear_attention(query, key, pad(value, (0, 1), value=1), **masks)[0]
        read = sums[..., :-1] / sums[..., -1:].clamp(min=self.causal.least)
        return blank(self.causal.output(read.to(x.dtype).flatten(2)), lengths)

    def _encoded(self, x: Float[Tensor, "batch time dim"]) -> tuple[Tensor, Tensor]:
        key, value = self.key_value(x)
        return self.causal.key_features(key), value

    @classmethod
    def example(cls) -> "JRT":
        """Return a small instance."""
        return cls(dim=8, heads=2, key=3, prefix=3)
