r"""minLSTM: an LSTM whose gates never read the state and add up to one: a linear scan.

Feng et al., "Were RNNs All We Needed?", 2024, arXiv:2410.01201, section 3.2.

    f_t = sigmoid(W_f x_t + b_f)               forget gate
    i_t = sigmoid(W_i x_t + b_i)               input gate
    c_t = W_c x_t + b_c                        candidate
    h_t = f_t / (f_t + i_t) * h_{t-1} + i_t / (f_t + i_t) * c_t
    y_t = h_t

The quotients are computed as sigmoid(d) and sigmoid(-d), with d = log f_t - log i_t; written out,
they are 0 / 0 where both gates close.

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim)
Cost     O(time dim^2) work and O(log time) depth in `forward`; O(dim^2) in `step`
Differs  No log-space form and no positive candidate: the scan is linear, and the gates are in
         (0, 1).
See also min_gru.py, lstm.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.scanned import Scanned


class MinLSTMState(NamedTuple):
    """What minLSTM remembers."""

    h: Float[Tensor, "batch dim"]


class MinLSTM(Scanned[MinLSTMState]):
    """Minimal long short-term memory.

    Args:
        dim: features read, remembered and answered.
    """

    remembers = MinLSTMState

    def __init__(self, dim: int):
        super().__init__()
        self.dim = self.out = dim
        self.forget_gate = Linear(dim, dim)
        self.input_gate = Linear(dim, dim)
        self.candidate = Linear(dim, dim)

    def gates(
        self, x: Float[Tensor, "*axes dim"]
    ) -> tuple[Float[Tensor, "*axes dim"], Float[Tensor, "*axes dim"]]:
        """Return f / (f + i) and i / (f + i) * c."""
        forget, enter, candidate = self.forget_gate(x), self.input_gate(x), self.candidate(x)
        wide = state_dtype(forget.dtype)
        d = logsigmoid(forget.to(wide)) - logsigmoid(enter.to(wide))
        return d.sigmoid(), (-d).sigmoid().to(candidate.dtype) * candidate

    @classmethod
    def example(cls) -> "MinLSTM":
        """Return a small instance."""
        return cls(dim=4)
