r"""IRNN: rectified units that copy themselves at the start, by a recurrent matrix that is identity.

Le, Jaitly and Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units",
2015, arXiv:1504.00941, section 3.

    h_t = relu(W x_t + b + U h_{t-1} + b')
    y_t = h_t

U starts at `scale` times the identity, W normal with a deviation of 0.001, and the biases at zero:
without inputs the state stays, and gradients neither grow nor shrink. A scale below one forgets:
the paper has 0.01 for speech.

Family   gated cell
Forms    loop; step
State    h, (batch, layers, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; times layers
Differs  Two biases and the names of the parameters are torch.nn.RNN's, whose `state_dict` loads.
See also elman.py, indrnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class IRNNState(NamedTuple):
    """What an IRNN remembers; nothing bounds it."""

    h: Float[Tensor, "batch layers hidden"]


class IRNN(Layers[IRNNState]):
    """Recurrent network of rectified units that starts at the identity.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        scale: of the identity that the recurrent matrices start at.
        deviation: of the normal numbers that the input matrices start at.
    """

    cell = cells.RELU
    remembers = IRNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        layers: int = 1,
        scale: float = 1.0,
        deviation: float = 0.001,
    ):
        self.scale, self.deviation = scale, deviation
        super().__init__(dim, hidden, layers=layers)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start at the identity; draw small input weights; biases are zero."""
        super().reset_parameters()
        for layer in range(self.layers):
            weights = self.weights(layer)
            nn.init.normal_(weights.input, std=self.deviation)
            weights.recurrent.copy_(self.scale * torch.eye(self.hidden))

    @classmethod
    def example(cls) -> "IRNN":
        """Return a small instance."""
        # Near 0.001 finite differences would step over the edges of relu.
        return cls(dim=4, deviation=0.5)
