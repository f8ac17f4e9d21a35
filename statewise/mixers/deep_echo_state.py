r"""Deep echo-state network: reservoirs one above the other, all of whose states are answered.

Gallicchio, Micheli and Pedrelli, "Deep Reservoir Computing: A Critical Experimental Analysis",
Neurocomputing 268, 2017, section 2.

    h^1_t = (1 - leak) h^1_{t-1} + leak tanh(W^1_in x_t + b^1 + W^1 h^1_{t-1})
    h^l_t = (1 - leak) h^l_{t-1} + leak tanh(W^l_in h^{l-1}_t + b^l + W^l h^l_{t-1})
    y_t = [h^1_t, ..., h^L_t]

Each layer is an echo-state network, drawn as there; W^l_in of the second layer and above is uniform
in (-inner_scale, inner_scale).

Family   reservoir
Forms    program; step
State    h, (batch, layers, hidden)
Cost     O(time layers hidden (dim + hidden)) work, time steps one after another; as much for one in
         `step`
Differs  One leak and one spectral radius for all layers.
See also echo_state.py, residual_echo_state.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import Cell
from statewise.mixers.echo_state import EchoState, EchoStateState


class DeepEchoStateState(NamedTuple):
    """What a deep echo-state network remembers."""

    h: Float[Tensor, "batch layers hidden"]


class DeepEchoState(Cell[DeepEchoStateState]):
    """Layers of reservoirs; it has no trainable parameters, and answers `layers * hidden` features.

    Args:
        dim: features read.
        hidden: units of each layer; `dim` if absent.
        layers: how many.
        radius: spectral radius of each layer.
        leak: how much of a unit is new at each time.
        density: the part of the units of a layer that each unit reads, at least one of them.
        input_scale: the largest weight of an input.
        inner_scale: the largest weight between two layers.
        bias_scale: the largest bias.
    """

    remembers = DeepEchoStateState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        layers: int = 3,
        radius: float = 0.9,
        leak: float = 1.0,
        density: float = 0.1,
        input_scale: float = 1.0,
        inner_scale: float = 1.0,
        bias_scale: float = 0.0,
    ):
        super().__init__()
        if layers < 1:
            raise ValueError(f"deep_echo_state: layers = {layers} should be at least 1")
        self.dim = dim
        self.hidden = dim if hidden is None else hidden
        self.out = layers * self.hidden
        same = {"radius": radius, "leak": leak, "density": density, "bias_scale": bias_scale}
        scales = [input_scale, *[inner_scale] * (layers - 1)]
        self.layers = nn.ModuleList(
            EchoState(self.hidden if place else dim, self.hidden, input_scale=scale, **same)
            for place, scale in enumerate(scales)
        )

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (len(self.layers), self.hidden)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: DeepEchoStateState
    ) -> tuple[Float[Tensor, "batch out"], DeepEchoStateState]:
        """Map one input, layer by layer."""
        y, layers = x, []
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, EchoState)
            y, _ = layer.cell(y, EchoStateState(state.h[:, place]))
            layers.append(y)
        y = torch.cat(layers, -1)
        return y, DeepEchoStateState(y.unflatten(-1, (-1, self.hidden)))

    @classmethod
    def example(cls) -> "DeepEchoState":
        """Return a small instance."""
        return cls(dim=4, hidden=5, layers=2, leak=0.6, density=0.5)
