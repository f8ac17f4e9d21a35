r"""Weight-dropped LSTM: while it trains, some of the recurrent weights are missing in every pass.

Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models", 2017,
arXiv:1708.02182, section 2, which takes DropConnect of Wan et al., 2013, to the recurrent matrices.

    U = V * m / (1 - drop)          while training; m is 0 where a uniform number < drop, else 1
    U = V                           otherwise
    [i, f, g, o]_t = W x_t + b + U h_{t-1} + b'
    c_t = sigmoid(f_t) * c_{t-1} + sigmoid(i_t) * tanh(g_t)
    h_t = sigmoid(o_t) * tanh(c_t)
    y_t = h_t

One m serves all times and rows of a call, and the next call draws another, from the module's own
generator: `draws`, which is saved with the weights. A step while training is a call of its own.

All parameters start uniform in +-1 / sqrt(hidden), as torch's, which the authors train.

Family   gated cell
Forms    loop; step
State    h and c, (batch, layers, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; times layers
Differs  The paper's other dropouts, its averaging and its penalties are not the cell's. Names of
         the weights are torch.nn.LSTM's: load its `state_dict` with strict=False, for `draws`.
See also lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.draws import Draws
from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class WeightDroppedLSTMState(NamedTuple):
    """What a weight-dropped LSTM remembers: what it last showed, and its cells."""

    h: Float[Tensor, "batch layers hidden"]
    c: Float[Tensor, "batch layers hidden"]


class WeightDroppedLSTM(Layers[WeightDroppedLSTMState]):
    """Long short-term memory with DropConnect on the recurrent weights.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        drop: the share of the recurrent weights that is missing while it trains.
    """

    cell = cells.LSTM
    remembers = WeightDroppedLSTMState

    def __init__(self, dim: int, hidden: int | None = None, *, layers: int = 1, drop: float = 0.5):
        if not 0 <= drop < 1:
            raise ValueError(f"weight_dropped_lstm: drop = {drop} should be from 0 and below 1")
        super().__init__(dim, hidden, layers=layers)
        self.drop, self.draws = drop, Draws()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters as torch does."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden**-0.5), self.hidden**-0.5)

    def weights(self, layer: int) -> cells.Weights:
        """Return one layer's parameters, some of them missing while training."""
        whole = super().weights(layer)
        if not self.training or not self.drop:
            return whole
        stays = self.draws(*whole.recurrent.shape) >= self.drop
        return whole._replace(recurrent=whole.recurrent * stays / (1 - self.drop))

    @classmethod
    def example(cls) -> "WeightDroppedLSTM":
        """Return a small instance."""
        return cls(dim=4)
