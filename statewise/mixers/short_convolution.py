r"""Short convolution: each feature mixes its last few values, with weights that never change.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023,
arXiv:2312.00752, section 3.4 and figure 3, where it stands before the recurrence.

    y_t = b + sum_{j=0}^{width-1} w_j * x_{t - width + 1 + j}     x is 0 before the start or a reset

Family   part
Forms    all positions at once; step
State    past, (batch, width - 1, dim): the last inputs, oldest first
Cost     O(time width dim) work in `forward`; O(width dim) in `step`
Differs  The convolution alone; Mamba's SiLU after it is the block's business. Taps and bias start
         uniform within 1 / sqrt(width), torch.nn.Conv1d's start for one feature at a time.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.convolution import short_convolution


class ShortConvolutionState(NamedTuple):
    """What a short convolution remembers."""

    past: Float[Tensor, "batch past dim"]


class ShortConvolution(Recurrent[ShortConvolutionState]):
    """Causal convolution of each feature by itself.

    Args:
        dim: features read and answered.
        width: how many inputs each output reads, the present one included.
        bias: whether there is a bias.
    """

    remembers = ShortConvolutionState

    def __init__(self, dim: int, *, width: int = 4, bias: bool = True):
        super().__init__()
        if width < 1:
            raise ValueError(f"short_convolution: width = {width} should be at least 1")
        self.dim = self.out = dim
        self.width = width
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(dim, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound)) if bias else None

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of the inputs before the present one."""
        return {"past": (self.width - 1, self.dim)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: ShortConvolutionState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], ShortConvolutionState]:
        """Map inputs."""
        y, past = run(short_convolution, x, self.weight, self.bias, initial=state.past)
        return y, ShortConvolutionState(past)

    @classmethod
    def example(cls) -> "ShortConvolution":
        """Return a small instance."""
        return cls(dim=4)
