r"""Elman's network: the hidden layer reads its own last value.

Elman, "Finding Structure in Time", Cognitive Science 14, 1990.

    h_t = tanh(W x_t + b + U h_{t-1} + b')     or relu in place of tanh
    y_t = h_t

Family   gated cell
Forms    loop; step
State    h, (batch, layers, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; times layers
Differs  No context units of their own, but any number of layers; the output layer is left to the
         model. Two biases and the names of the parameters are torch.nn.RNN's, whose `state_dict`
         loads; U starts orthogonal, W Xavier, and the biases zero, where torch draws all uniformly.
See also lstm.py, gru.py
"""

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.layers import Layers
from statewise.ops import cells


class ElmanState(NamedTuple):
    """What Elman's network remembers."""

    h: Float[Tensor, "batch layers hidden"]


class Elman(Layers[ElmanState]):
    """Elman's recurrent network; it loads the `state_dict` of a torch.nn.RNN.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu". With relu nothing bounds the state.
    """

    remembers = ElmanState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        layers: int = 1,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
    ):
        known = {"tanh": cells.TANH, "relu": cells.RELU}
        if nonlinearity not in known:
            raise ValueError(f"elman: nonlinearity {nonlinearity!r} should be 'tanh' or 'relu'")
        self.cell = known[nonlinearity]
        super().__init__(dim, hidden, layers=layers, bias=bias)

    @classmethod
    def example(cls) -> "Elman":
        """Return a small instance."""
        return cls(dim=4)
