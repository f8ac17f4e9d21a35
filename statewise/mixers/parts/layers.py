"""Layers of one classical cell, with the parameter names of torch.nn's modules: no mixer itself.

What Elman's network, the LSTM and the GRU share: `state_dict`s go to and from torch.nn.RNN, LSTM
and GRU unchanged, and every leaf of the state is (batch, layers, hidden).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import State
from statewise.mixers.parts.initial import orthogonal, xavier
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops import cells


class Layers(Recurrent[State]):
    """Layers of one cell, each reading the one below.

    A subclass names its cell and its state.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases, two per layer as in torch.nn.
    """

    cell: cells.Cell
    """Which; `remembers` has a leaf for each tensor of its state."""

    def __init__(self, dim: int, hidden: int | None = None, *, layers: int = 1, bias: bool = True):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.layers, self.bias = layers, bias
        rows = self.cell.gates * self.hidden
        for layer in range(layers):
            read = dim if layer == 0 else self.hidden
            self.register_parameter(f"weight_ih_l{layer}", nn.Parameter(torch.empty(rows, read)))
            self.register_parameter(
                f"weight_hh_l{layer}", nn.Parameter(torch.empty(rows, self.hidden))
            )
            if bias:
                self.register_parameter(f"bias_ih_l{layer}", nn.Parameter(torch.empty(rows)))
                self.register_parameter(f"bias_hh_l{layer}", nn.Parameter(torch.empty(rows)))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw Xavier input weights and orthogonal recurrent ones, by gate; biases are zero."""
        for layer in range(self.layers):
            weights = self.weights(layer)
            xavier(weights.input, self.cell.gates)
            orthogonal(weights.recurrent, self.cell.gates)
            for bias in (weights.input_bias, weights.recurrent_bias):
                if bias is not None:
                    nn.init.zeros_(bias)

    def weights(self, layer: int) -> cells.Weights:
        """Return one layer's parameters."""
        names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if self.bias else ())
        return cells.Weights(*(getattr(self, f"{name}_l{layer}") for name in names))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of every layer's tensors."""
        return dict.fromkeys(self.remembers._fields, (self.layers, self.hidden))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs, layer by layer."""
        y, finals = x, []
        for layer in range(self.layers):
            before = tuple(leaf[:, layer] for leaf in state)
            y, final = run(cells.recur, self.cell, y, self.weights(layer), initial=before)
            finals.append(final)
        return y, self.remembers(*(torch.stack(leaf, 1) for leaf in zip(*finals, strict=True)))
