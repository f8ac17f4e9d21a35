r"""Feed-forward layer: each position by itself, through a wider layer; it remembers nothing.

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.3; with GELU,
Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv:1606.08415.

    y_t = W_2 gelu(W_1 x_t + b_1) + b_2

Family   part
Forms    all positions at once; step
State    none
Cost     O(time expansion dim^2) work in `forward`; O(expansion dim^2) in `step`
Differs  GELU in place of the first paper's relu.
See also gated_feed_forward.py, mixture.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.positionwise import Positionwise


class FeedForwardState(NamedTuple):
    """Nothing. It is falsy, as every empty tuple."""


class FeedForward(Positionwise[FeedForwardState]):
    """Two layers applied to each position.

    Args:
        dim: features read and answered.
        expansion: width of the inner layer, in multiples of `dim`.
    """

    remembers = FeedForwardState

    def __init__(self, dim: int, *, expansion: float | int = 4):
        super().__init__()
        hidden = round(expansion * dim)
        if hidden < 1:
            raise ValueError(f"feed_forward: expansion = {expansion} leaves no inner features")
        self.dim = self.out = dim
        self.widen = Linear(dim, hidden)
        self.narrow = Linear(hidden, dim)

    def at(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Map positions."""
        return self.narrow(gelu(self.widen(x)))

    @classmethod
    def example(cls) -> "FeedForward":
        """Return a small instance."""
        return cls(dim=4)
