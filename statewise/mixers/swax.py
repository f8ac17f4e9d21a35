r"""SWAX: sliding-window attention that sees a short window at random while it trains.

Cabannes et al., "Short Window Attention Enables Long-Term Memorization", 2025, arXiv:2509.24552:
what the short window hides, the recurrent layers beside it learn to remember.

    w_b = window if chance_b < share, else short           while training; window otherwise
    a_ts = softmax_s(q_t . k_s / sqrt(head_dim))           s <= t < s + w_b
    y_t = W_out [sum_s a_ts v_s]                           heads side by side, as in attention.py

chance_b is drawn for each row at each call, from a count in the state.

Family   attention
Forms    all positions at once, piece by piece; step
State    keys and values, (batch, window, heads, head_dim) each, and position, (batch,), as in
         attention.py; draws, (batch,), which a reset leaves alone, and evaluation too
Cost     O(time dim^2 + time window dim) work in `forward`; O(dim^2 + window dim) in `step`
Differs  The paper's schedule of `share` was not at hand: set the attribute while training, to 1
         towards its end. A fresh state begins its draws at zero; `redrawn` gives others.
See also attention.py; the hybrid swax of statewise/models/hybrids.py
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.mixers.attention import Attention, AttentionState
from statewise.mixers.base import Mixer, state_dtype
from statewise.mixers.parts.chance import uniform


class SWAXState(NamedTuple):
    """What the window holds, and how many windows were drawn."""

    keys: Float[Tensor, "batch capacity heads key"]
    values: Float[Tensor, "batch capacity heads key"]
    position: Int[Tensor, " batch"]
    draws: Int[Tensor, " batch"]


class SWAX(Mixer[SWAXState]):
    """Causal attention over a window that is short at random while training.

    Args:
        dim: features read and answered.
        heads: parts of the features that attend apart.
        window: how many positions each one sees, itself included.
        short: how many it sees where the short window is drawn.
        share: of the calls in training that have the whole window.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        window: int = 2048,
        short: int = 128,
        share: float = 0.5,
    ):
        super().__init__()
        if not 1 <= short <= window:
            raise ValueError(f"swax: short = {short} should be from 1 to window = {window}")
        if not 0 <= share <= 1:
            raise ValueError(f"swax: share = {share} should be from 0 to 1")
        self.attention = Attention(dim, heads=heads, window=window)
        self.dim = self.out = dim
        self.window, self.short, self.share = window, short, share

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> SWAXState:
        """Return an empty window, and no draw."""
        start = self.attention.initial_state(batch, device=device, dtype=dtype)
        return SWAXState(*start, torch.zeros_like(start.position))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: SWAXState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], SWAXState]:
        """Map a whole sequence; while training, draw a window for it."""
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))
        reach, draws = None, state.draws.clone()
        if self.training:
            reach = torch.where(uniform(draws) < self.share, self.window, self.short)
            read = x.shape[1] > 0 if lengths is None else lengths > 0
            draws = draws + read
        kept = AttentionState(*state[:3])
        y, after = self.attention.read(x, kept, reach=reach, reset=reset, lengths=lengths)
        return y, SWAXState(*after, draws)

    def state_size(self, time: int) -> int:
        """Return that of the window, and one."""
        return self.attention.state_size(time) + 1

    @classmethod
    def example(cls) -> "SWAX":
        """Return a small instance."""
        return cls(dim=4, heads=1, window=5, short=2)


def redrawn(state: Any, generator: torch.Generator) -> Any:
    """Return a model's state with new counts of draws wherever SWAX stands in it."""
    if isinstance(state, SWAXState):
        shape = state.draws.shape
        draws = torch.randint(1 << 62, shape, generator=generator).to(state.draws.device)
        return state._replace(draws=draws)
    if isinstance(state, tuple):
        parts = [redrawn(part, generator) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
