r"""Boom: a feed-forward layer that narrows by adding its parts up, without a second matrix.

Merity, "Single Headed Attention RNN: Stop Thinking With Your Head", 2019,
arXiv:1911.11423, the section on the model, and the author's program.

    u_t = g(W x_t + b)                      (expansion dim), with g(x) = x sigmoid(1.702 x)
    y_t = sum_j u_t[j dim : (j + 1) dim]    over the `expansion` parts

W starts normal with deviation 0.1 / sqrt(dim), b at zero.

Family   part
Forms    all positions at once; step
State    none
Cost     O(time expansion dim^2) work in `forward`; O(expansion dim^2) in `step`
See also feed_forward.py, single_head_attention.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.positionwise import Positionwise


class BoomState(NamedTuple):
    """Nothing."""


class Boom(Positionwise[BoomState]):
    """One widening layer whose parts are added.

    Args:
        dim: features read and answered.
        expansion: how many parts.
    """

    remembers = BoomState

    def __init__(self, dim: int, *, expansion: int = 4):
        super().__init__()
        if expansion < 1:
            raise ValueError(f"boom: expansion = {expansion} should be at least 1")
        self.dim = self.out = dim
        self.widen = Linear(dim, expansion * dim)
        nn.init.normal_(self.widen.weight, std=0.1 * dim**-0.5)
        nn.init.zeros_(self.widen.bias)

    def at(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
        """Map positions."""
        u = self.widen(x)
        return (u * (1.702 * u).sigmoid()).unflatten(-1, (-1, self.dim)).sum(-2)

    @classmethod
    def example(cls) -> "Boom":
        """Return a small instance."""
        return cls(dim=4, expansion=2)
