"""The block of Mamba around a memory of each inner feature: no mixer itself.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
arXiv:2312.00752, figure 3.
"""

import abc
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from statewise.mixers.base import State
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.short_convolution import ShortConvolution, ShortConvolutionState


class MambaBlock(Recurrent[State]):
    """A mixer whose memory reads a short convolution and is gated, between two linear maps.

        u_t, z_t = W_in x_t
        y_t = W_out memory(silu(short_convolution(u)_t), z_t)

    A subclass names its state, with two leaves, past and the memory's, gives the shapes of both,
    and writes `memory`.

    Args:
        mixer: its name, for what is refused.
        dim: features read and answered.
        expansion: inner features for each feature.
        width: how many inputs the convolution reads.
    """

    def __init__(self, mixer: str, dim: int, expansion: float, width: int):
        super().__init__()
        self.dim = self.out = dim
        self.inner = int(expansion * dim)
        if self.inner < 1:
            raise ValueError(f"{mixer}: expansion = {expansion} leaves nothing of dim = {dim}")
        self.input = Linear(dim, 2 * self.inner, bias=False)
        self.convolution = ShortConvolution(self.inner, width=width)
        self.output = Linear(self.inner, dim, bias=False)

    @abc.abstractmethod
    def memory(
        self,
        v: Float[Tensor, "batch *time inner"],
        z: Float[Tensor, "batch *time inner"],
        state: Any,
        run: Run,
    ) -> tuple[Float[Tensor, "batch *time inner"], Tensor]:
        """Return what the memory answers, gated by silu(z), and its leaf after that."""

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs."""
        u, z = self.input(x).chunk(2, -1)
        u, (past,) = self.convolution.mix(u, ShortConvolutionState(state.past), run)
        y, after = self.memory(silu(u), z, state, run)
        return self.output(y), self.remembers(past, after)
