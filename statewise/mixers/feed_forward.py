r"""Feed-forward layer: each position by itself, through a wider layer; it remembers nothing.

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.3; with GELU,
Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv:1606.08415.

    y_t = W_2 gelu(W_1 x_t + b_1) + b_2

Family   part
Forms    all positions at once; step
State    none
Cost     O(time expansion dim^2) work in `forward`; O(expansion dim^2) in `step`
Differs  GELU in place of the first paper's relu.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from statewise.mixers.base import Mixer, blank


class FeedForwardState(NamedTuple):
    """Nothing. It is falsy, as every empty tuple."""


class FeedForward(Mixer[FeedForwardState]):
    """Two layers applied to each position.

    Args:
        dim: features read and answered.
        expansion: width of the inner layer, in multiples of `dim`.
    """

    def __init__(self, dim: int, *, expansion: float = 4):
        super().__init__()
        hidden = round(expansion * dim)
        if hidden < 1:
            raise ValueError(f"feed_forward: expansion = {expansion} leaves no inner features")
        self.dim = self.out = dim
        self.widen = nn.Linear(dim, hidden)
        self.narrow = nn.Linear(hidden, dim)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> FeedForwardState:
        """Return nothing."""
        return FeedForwardState()

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: FeedForwardState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], FeedForwardState]:
        """Map every position; there is nothing to reset."""
        y = self.narrow(gelu(self.widen(blank(x, lengths))))
        return blank(y, lengths), FeedForwardState()

    def step(
        self, x: Float[Tensor, "batch dim"], state: FeedForwardState
    ) -> tuple[Float[Tensor, "batch out"], FeedForwardState]:
        """Map one input."""
        return self.narrow(gelu(self.widen(x))), FeedForwardState()

    def state_size(self, time: int) -> int:
        """Return zero."""
        return 0

    @classmethod
    def example(cls) -> "FeedForward":
        """Return a small instance."""
        return cls(dim=4)
