r"""Stacked mixers: layers one above the other, wired plainly, residually or densely.

Plain: Graves, Mohamed and Hinton, "Speech Recognition with Deep Recurrent Neural Networks", 2013,
arXiv:1303.5778, section 3. Residual: Wu et al., "Google's Neural Machine Translation System", 2016,
arXiv:1609.08144, section 3.1. Dense: Huang et al., "Densely Connected Convolutional Networks",
2017, arXiv:1608.06993, as stacked_bidirectional.py has it.

    x^1 = x,  y^l = mixer^l(x^l)
    x^{l+1} = y^l                 plain
    x^{l+1} = x^l + y^l           residual
    x^{l+1} = [x^l, y^l]          dense: side by side, x and the answers of all layers below
    y = y^L, or x^L + y^L where residual

Family   part
Forms    that of its mixer
State    layers: that of each
Cost     that of all layers; a dense one reads `depth` times as many features at the top
See also stacked_bidirectional.py, variational_dropout.py
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise import mixers
from statewise.mixers.base import Mixer, blank
from statewise.mixers.parts.wiring import Wiring, above, answered, layers


class StackedState(NamedTuple):
    """What the layers remember."""

    layers: tuple[Any, ...]


class Stacked(Mixer[StackedState]):
    """Layers of one kind of mixer.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable, of each layer.
        depth: how many layers.
        wiring: what a layer reads: "plain", "residual" or "dense".
    """

    def __init__(
        self,
        dim: int,
        mixer: "mixers.Spec" = "lstm",
        *,
        depth: int = 2,
        wiring: Wiring = "residual",
    ):
        super().__init__()
        self.layers = layers("stacked", mixer, dim, depth=depth, wiring=wiring)
        if not all(isinstance(layer, Mixer) for layer in self.layers):
            raise ValueError(f"stacked: mixer {mixer!r} has no state; see stacked_bidirectional")
        self.dim, self.wiring = dim, wiring
        self.out = answered(self.layers)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> StackedState:
        """Return those of the layers."""
        each: Any = self.layers
        return StackedState(
            tuple(layer.initial_state(batch, device=device, dtype=dtype) for layer in each)
        )

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: StackedState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], StackedState]:
        """Map a whole sequence, layer by layer."""
        states = (None,) * len(self.layers) if state is None else state.layers
        y, after = x, []
        for place, (layer, before) in enumerate(zip(self.layers, states, strict=True)):
            x = above(self.wiring, x, y) if place else x
            y, state_after = layer(x, before, reset=reset, lengths=lengths)
            after.append(state_after)
        return blank(self._top(x, y), lengths), StackedState(tuple(after))

    def step(
        self, x: Float[Tensor, "batch dim"], state: StackedState
    ) -> tuple[Float[Tensor, "batch out"], StackedState]:
        """Map one input."""
        y, after = x, []
        each: Any = self.layers
        for place, (layer, before) in enumerate(zip(each, state.layers, strict=True)):
            x = above(self.wiring, x, y) if place else x
            y, state_after = layer.step(x, before)
            after.append(state_after)
        return self._top(x, y), StackedState(tuple(after))

    def _top(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the answer, from what the top layer read and answered."""
        return x + y if self.wiring == "residual" else y

    def state_size(self, time: int) -> int:
        """Return those of the layers, added up."""
        each: Any = self.layers
        return sum(layer.state_size(time) for layer in each)

    @classmethod
    def example(cls) -> "Stacked":
        """Return a small instance."""
        return cls(dim=4, depth=3, wiring="dense")
