r"""minGRU: a GRU whose gate never reads the state, so that the recurrence is a linear scan.

Feng et al., "Were RNNs All We Needed?", 2024, arXiv:2410.01201, section 3.1.

    z_t = sigmoid(W_z x_t + b_z)               update gate
    c_t = W_c x_t + b_c                        candidate
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t
    y_t = h_t

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim)
Cost     O(time dim^2) work and O(log time) depth in `forward`; O(dim^2) in `step`
Differs  No log-space form and no positive candidate: the scan is linear, and the gate is in (0, 1).
See also min_lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.scanned import Scanned


class MinGRUState(NamedTuple):
    """What minGRU remembers."""

    h: Float[Tensor, "batch dim"]


class MinGRU(Scanned[MinGRUState]):
    """Minimal gated recurrent unit.

    Args:
        dim: features read, remembered and answered.
    """

    remembers = MinGRUState

    def __init__(self, dim: int):
        super().__init__()
        self.dim = self.out = dim
        self.gate = Linear(dim, dim)
        self.candidate = Linear(dim, dim)

    def gates(
        self, x: Float[Tensor, "*axes dim"]
    ) -> tuple[Float[Tensor, "*axes dim"], Float[Tensor, "*axes dim"]]:
        """Return 1 - z and z * c."""
        gate, candidate = self.gate(x), self.candidate(x)
        return torch.sigmoid(-gate.to(state_dtype(gate.dtype))), gate.sigmoid() * candidate

    @classmethod
    def example(cls) -> "MinGRU":
        """Return a small instance."""
        return cls(dim=4)
