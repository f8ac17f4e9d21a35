"""How mixers with a matrix for each head begin and end: no mixer itself."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import HeadNorm


class Projections(nn.Module):
    """Several linear maps of one input in one product, each answer parted into heads.

    Args:
        dim: features read.
        heads: how many parts each answer has.
        sizes: features of each answer, all heads together.
        bias: whether there is a bias.
    """

    def __init__(self, dim: int, heads: int, *sizes: int, bias: bool = False):
        super().__init__()
        self.heads, self.sizes = heads, sizes
        self.map = Linear(dim, sum(sizes), bias=bias)

    def forward(self, x: Float[Tensor, "batch *time dim"]) -> list[Tensor]:
        """Return the answers, (batch, *time, heads, size / heads) each."""
        return self.parted(self.map(x))

    def parted(self, y: Float[Tensor, "batch *time features"]) -> list[Tensor]:
        """Return what lies side by side, each part in heads."""
        return [part.unflatten(-1, (self.heads, -1)) for part in y.split(self.sizes, -1)]


class GatedOutput(nn.Module):
    """`W_out [gate(W_g x) * norm(read)]`, heads side by side.

    Args:
        dim: features read and answered.
        norm: of what each head read.
        width: features of all heads together.
        gate: what the gate's pre-activation goes through.
    """

    def __init__(
        self,
        dim: int,
        norm: HeadNorm,
        width: int,
        *,
        gate: Callable[[Tensor], Tensor] = silu,
    ):
        super().__init__()
        self.norm, self.activation = norm, gate
        self.gate = Linear(dim, width, bias=False)
        self.output = Linear(width, dim, bias=False)

    def forward(
        self,
        read: Float[Tensor, "batch *time heads value"],
        x: Float[Tensor, "batch *time dim"],
    ) -> Float[Tensor, "batch *time dim"]:
        """Return the answer to what was read, gated by the input."""
        return self.output(self.activation(self.gate(x)) * self.norm(read).flatten(-2))
