"""Dropout that a sequence keeps: what is missing is missing at all its times.

Gal and Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
2016, arXiv:1512.05287, section 4: "variational", or "locked", dropout.
"""

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.draws import Draws


class LockedDropout(nn.Module):
    """While it trains, each sequence lacks the same share of its features at all times.

    The numbers are the module's own (`draws`, saved with the weights), so that a run that goes on
    draws what it would have drawn.

    Args:
        rate: the share that is missing, from 0 and below 1; the others are scaled up for it.

    Raises:
        ValueError: for another rate.
    """

    def __init__(self, rate: float):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout {rate} should be from 0 and below 1")
        self.rate = rate
        self.draws = Draws()

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Return the sequences, with what is left of them while training."""
        if not self.training or not self.rate:
            return x
        kept = self.draws(len(x), 1, x.shape[2]) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))

    def extra_repr(self) -> str:
        """Return what the printed module shows."""
        return f"rate={self.rate}"
