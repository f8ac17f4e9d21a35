r"""Single-headed attention: one head over a long window of inputs, which no matrix maps before.

Merity, "Single Headed Attention RNN: Stop Thinking With Your Head", 2019,
arXiv:1911.11423, the section on the model, and the author's program.

    m_t = norm_m(x_t)
    q_t = sigmoid(a_q) * norm_q(W_q x_t + b_q)
    k_t = sigmoid(a_k) * m_t
    v_t = sigmoid(f) * tanh(c) * m_t                       c, f = W_v sigmoid(a_v) + b_v
    a_ts = softmax_s(q_t . k_s / sqrt(dim))                s <= t < s + window
    y_t = sum_s a_ts v_s

No positions: the LSTM before it knows the order. v's factor is the same for all inputs, and is
computed through W_v only to be learned better. a starts at zero, the weights normal with deviation
0.1 / sqrt(dim).

Family   attention
Forms    all positions at once, piece by piece; step
State    keys and values, (batch, window, 1, dim) each, and position, (batch,), as in attention.py
Cost     O(time dim^2 + time window dim) work in `forward`; O(dim^2 + window dim) in `step`
Differs  Keys and values are kept, not m of which both are made. The window moves with each input,
         where the author's program keeps what earlier segments held besides the whole present one.
See also attention.py, boom.py; the hybrid sha_rnn of statewise/models/hybrids.py
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.attention import Attention
from statewise.mixers.parts.linear import Linear


class SingleHeadAttention(Attention):
    """Attention of one head without maps of keys and values.

    Args:
        dim: features read and answered.
        window: how many positions each one sees, itself included.
    """

    def __init__(self, dim: int, *, window: int = 5000):
        if window < 1:
            raise ValueError(f"single_head_attention: window = {window} should be at least 1")
        super().__init__(dim, heads=1, window=window, rotary=False)
        self.query_key_value = _Scaled(dim)
        self.output = nn.Identity()

    @classmethod
    def example(cls) -> "SingleHeadAttention":
        """Return a small instance."""
        return cls(dim=4, window=5)


class _Scaled(nn.Module):
    """Queries, keys and values, side by side."""

    def __init__(self, dim: int):
        super().__init__()
        self.memory_norm, self.query_norm = (nn.LayerNorm(dim, eps=1e-12) for _ in range(2))
        self.query, self.factor = Linear(dim, dim), Linear(dim, 2 * dim)
        for layer in (self.query, self.factor):
            nn.init.normal_(layer.weight, std=0.1 * dim**-0.5)
            nn.init.zeros_(layer.bias)
        self.scales = nn.Parameter(torch.zeros(3, dim))

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes three_dim"]:
        of_query, of_key, of_value = self.scales.sigmoid()
        c, f = self.factor(of_value).chunk(2)
        memory = self.memory_norm(x)
        query = of_query * self.query_norm(self.query(x))
        return torch.cat([query, of_key * memory, f.sigmoid() * c.tanh() * memory], -1)
