"""Lower bounds of forget gates that rise from layer to layer: no mixer itself.

Qin et al., "Hierarchically Gated Recurrent Neural Network for Sequence Modeling", 2023,
arXiv:2311.04823, section 3.2. One instance is given to all layers of a stack:

    bounds = LowerBounds(layers=12, width=256)
    stack = Stack([Block([HGRN(256, bound=bounds, layer=layer)]) for layer in range(12)])
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype


class LowerBounds(nn.Module):
    """Learned bounds: 0 in the lowest layer, k / layers in layer k at the start, below 1 always.

    Args:
        layers: how many share them.
        width: gates in each layer.
    """

    def __init__(self, layers: int, width: int):
        super().__init__()
        self.shares = nn.Parameter(torch.zeros(layers, width))

    def forward(self, layer: int) -> Float[Tensor, " width"]:
        """Return the bounds of one layer: the shares of all layers below it."""
        return self.shares.to(state_dtype(self.shares.dtype)).softmax(0)[:layer].sum(0)
