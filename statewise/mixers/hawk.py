r"""Hawk: the recurrent block of Griffin, an RG-LRU after a short convolution, gated by a GELU.

De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language
Models", 2024, arXiv:2402.19427, section 2.3 and figure 2.

    u_t = RG-LRU(short_convolution(W_u x + b_u))_t
    y_t = W_out [gelu(W_g x_t + b_g) * u_t] + b_out

Hawk has this block at every depth; Griffin has local attention at every third.

Family   linear diagonal
Forms    scan; step
State    past, (batch, width - 1, inner): the convolution's last inputs; h, (batch, inner);
         begun, (batch, 1); inner * width + 1 numbers
Cost     O(time inner dim) work in `forward`; O(inner dim) in `step`
Differs  W_out is not scaled by depth. The GELU is the one by tanh, as in the authors' program.
See also rg_lru.py, short_convolution.py, mamba.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.rg_lru import RGLRU, RGLRUState
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState


class HawkState(NamedTuple):
    """What Hawk's block remembers."""

    past: Float[Tensor, "batch past inner"]
    h: Float[Tensor, "batch inner"]
    begun: Float[Tensor, "batch one"]


class Hawk(Recurrent[HawkState]):
    """Recurrent block of Griffin.

    Args:
        dim: features read and answered.
        inner: features remembered; `dim` if absent, and four thirds of it in the paper.
        heads: blocks of the gates' matrices.
        width: how many inputs the convolution reads.
    """

    remembers = HawkState

    def __init__(self, dim: int, *, inner: int | None = None, heads: int = 4, width: int = 4):
        super().__init__()
        self.dim = self.out = dim
        inner = dim if inner is None else inner
        self.gate, self.input = Linear(dim, inner), Linear(dim, inner)
        self.convolution = ShortConvolution(inner, width=width)
        self.recurrence = RGLRU(inner, heads=heads)
        self.output = Linear(inner, dim)
        for layer in (self.gate, self.input, self.output):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.convolution.weight, std=0.1 * width**-0.5)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return those of the convolution and of the recurrence."""
        return {**self.convolution.shapes(), **self.recurrence.shapes()}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: HawkState, run: Run
    ) -> tuple[Float[Tensor, "batch *time dim"], HawkState]:
        """Map inputs."""
        past, *memory = state
        u, (past,) = self.convolution.mix(self.input(x), ShortConvolutionState(past), run)
        u, memory = self.recurrence.mix(u, RGLRUState(*memory), run)
        return self.output(gelu(self.gate(x), approximate="tanh") * u), HawkState(past, *memory)

    @classmethod
    def example(cls) -> "Hawk":
        """Return a small instance."""
        return cls(dim=4, heads=2)
