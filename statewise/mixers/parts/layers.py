"""Layers of one classical cell, with the parameter names of torch.nn's modules: no mixer itself.

What Elman's network, the LSTM and the GRU share: `state_dict`s go to and from torch.nn.RNN, LSTM
and GRU unchanged, and every leaf of the state is (batch, layers, hidden).
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.mixers.base import Mixer, State, zeros
from statewise.ops import cells


class Layers(Mixer[State]):
    """Layers of one cell, each reading the one below.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        layers: how many, one above the other.
        bias: whether there are biases, two per layer as in torch.nn.
    """

    cell: cells.Cell
    remembers: ClassVar[type]
    """The state: a NamedTuple with a leaf for each tensor of the cell's."""

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
            for block in weights.input.split(self.hidden):
                nn.init.xavier_uniform_(block)
            for block in weights.recurrent.split(self.hidden):
                nn.init.orthogonal_(block)
            for bias in (weights.input_bias, weights.recurrent_bias):
                if bias is not None:
                    nn.init.zeros_(bias)

    def weights(self, layer: int) -> cells.Weights:
        """Return one layer's parameters."""
        names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if self.bias else ())
        return cells.Weights(*(getattr(self, f"{name}_l{layer}") for name in names))

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """Return zeros."""
        leaf = zeros(self, batch, self.layers, self.hidden, device=device, dtype=dtype)
        return self.remembers(*(leaf.clone() for _ in range(self.cell.leaves)))

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: State | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], State]:
        """Map a whole sequence, layer by layer."""
        y, finals = x, []
        for layer in range(self.layers):
            initial = None if state is None else _of(layer, state)
            y, final = cells.recur(
                self.cell, y, self.weights(layer), initial=initial, reset=reset, lengths=lengths
            )
            finals.append(final)
        return y, self._stack(finals)

    def step(
        self, x: Float[Tensor, "batch dim"], state: State
    ) -> tuple[Float[Tensor, "batch out"], State]:
        """Map one input."""
        y, finals = x, []
        for layer in range(self.layers):
            before = _of(layer, state)
            final = cells.recur_step(self.cell, y, self.weights(layer), before)
            y = final[0].to(x.dtype)
            finals.append(final)
        return y, self._stack(finals)

    def _stack(self, finals: list[cells.State]) -> State:
        """Return the state of all layers, in fresh tensors."""
        return self.remembers(*(torch.stack(leaf, 1) for leaf in zip(*finals, strict=True)))

    def state_size(self, time: int) -> int:
        """Return layers * hidden for each of the cell's tensors, whatever was read."""
        return self.cell.leaves * self.layers * self.hidden


def _of(layer: int, state: Any) -> cells.State:
    """Return one layer's part of a state."""
    return tuple(leaf[:, layer] for leaf in state)
