r"""minGRU: a GRU whose gate never reads the state, so that the recurrence is a linear scan.

Feng et al., "Were RNNs All We Needed?", 2024, arXiv:2410.01201, section 3.1.

    z_t = sigmoid(W_z x_t + b_z)               update gate
    c_t = W_c x_t + b_c                        candidate
    h_t = (1 - z_t) * h_{t-1} + z_t * c_t
    y_t = h_t

State    h, (batch, dim)
Cost     O(time dim^2) work and O(log time) depth in `forward`; O(dim^2) in `step`
Differs  No log-space form and no positive candidate: the scan is linear, and the gate is in (0, 1).
See also min_lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.mixers.base import Mixer, state_dtype
from statewise.ops.scan import scan, scan_step


class MinGRUState(NamedTuple):
    """What minGRU remembers."""

    h: Float[Tensor, "batch dim"]


class MinGRU(Mixer[MinGRUState]):
    """Minimal gated recurrent unit.

    Args:
        dim: features read, remembered and answered.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = self.out = dim
        self.gate = nn.Linear(dim, dim)
        self.candidate = nn.Linear(dim, dim)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> MinGRUState:
        """Return h = 0."""
        weight = self.gate.weight
        dtype = state_dtype(dtype or weight.dtype)
        return MinGRUState(weight.new_zeros(batch, self.dim, device=device, dtype=dtype))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: MinGRUState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], MinGRUState]:
        """Map a whole sequence with one scan."""
        decay, drive = self._gates(x)
        initial = None if state is None else state.h
        y, h = scan(decay, drive, initial=initial, reset=reset, lengths=lengths)
        return y, MinGRUState(h)

    def step(
        self, x: Float[Tensor, "batch dim"], state: MinGRUState
    ) -> tuple[Float[Tensor, "batch out"], MinGRUState]:
        """Map one input."""
        decay, drive = self._gates(x)
        h = scan_step(decay, drive, state.h)
        return h.to(drive.dtype, copy=True), MinGRUState(h)

    def _gates(
        self, x: Float[Tensor, "*axes dim"]
    ) -> tuple[Float[Tensor, "*axes dim"], Float[Tensor, "*axes dim"]]:
        gate, candidate = self.gate(x), self.candidate(x)
        # The decay is kept in float32: near one, bfloat16 would round it to one.
        return torch.sigmoid(-gate.to(state_dtype(gate.dtype))), gate.sigmoid() * candidate

    def state_size(self, time: int) -> int:
        """Return dim, whatever was read."""
        return self.dim

    @classmethod
    def example(cls) -> "MinGRU":
        """Return a small instance."""
        return cls(dim=4)
