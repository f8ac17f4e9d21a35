r"""Gated feed-forward layer: each position by itself, through a wider layer that gates itself.

Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, section 2, equation 6.

    y_t = W_out [f(W_gate x_t + b_gate) * (W_value x_t + b_value)] + b_out       biases if asked for

f is silu (SwiGLU: Samba, Jamba, xLSTM-7B) or gelu (GEGLU: Griffin, xLSTM's sLSTM block), the exact
one or, as "gelu_tanh", the one by tanh (RecurrentGemma).

Family   part
Forms    all positions at once; step
State    none
Cost     O(time expansion dim^2) work in `forward`; O(expansion dim^2) in `step`
Differs  The hidden width is not rounded up to a multiple of anything.
See also feed_forward.py, mixture.py
"""

from functools import partial
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, silu

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.positionwise import Positionwise

_FUNCTIONS = {"silu": silu, "gelu": gelu, "gelu_tanh": partial(gelu, approximate="tanh")}


class GatedFeedForwardState(NamedTuple):
    """Nothing."""


class GatedFeedForward(Positionwise[GatedFeedForwardState]):
    """Three matrices, applied to each position.

    Args:
        dim: features read and answered.
        expansion: width of the inner layer, in multiples of `dim`; 8 / 3 has as many parameters as
            a feed-forward layer of expansion 4.
        activation: what the gate goes through: "silu", "gelu" or "gelu_tanh".
        bias: whether each map adds one.
    """

    remembers = GatedFeedForwardState

    def __init__(
        self,
        dim: int,
        *,
        expansion: float | int = 8 / 3,
        activation: str = "silu",
        bias: bool = False,
    ):
        super().__init__()
        hidden = round(expansion * dim)
        if hidden < 1:
            raise ValueError(
                f"gated_feed_forward: expansion = {expansion} leaves no inner features"
            )
        if activation not in _FUNCTIONS:
            raise ValueError(
                f"gated_feed_forward: activation = {activation!r} should be one of "
                f"{', '.join(_FUNCTIONS)}"
            )
        self.dim = self.out = dim
        self.activation = activation
        self.widen = Linear(dim, 2 * hidden, bias=bias)
        self.narrow = Linear(hidden, dim, bias=bias)

    def at(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Map positions."""
        gate, value = self.widen(x).chunk(2, -1)
        return self.narrow(_FUNCTIONS[self.activation](gate) * value)

    @classmethod
    def example(cls) -> "GatedFeedForward":
        """Return a small instance."""
        return cls(dim=4)
