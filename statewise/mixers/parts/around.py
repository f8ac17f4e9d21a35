"""A cell around another mixer: built by its name, with the state that it has."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statewise import mixers
from statewise.mixers.base import Cell, Mixer, State


class Around(Cell[State]):
    """A cell that calls a mixer for each input: give `cell`, and what else differs.

    Args:
        dim: features read.
        mixer: a name, `{"name": ..., option: value}`, a class or a callable.

    Raises:
        ValueError: for a mixer that keeps no state.
    """

    def __init__(self, dim: int, mixer: "mixers.Spec"):
        super().__init__()
        inner = mixers.build(mixer, dim)
        if not isinstance(inner, Mixer):
            name = type(self).__module__.rpartition(".")[2]
            raise ValueError(f"{name}: mixer {mixer!r} has no state")
        self.mixer: Mixer[Any] = inner
        self.dim, self.out = dim, inner.out

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Return that of the mixer."""
        return self.mixer.initial_state(batch, device=device, dtype=dtype)

    def state_size(self, time: int) -> int:
        """Return that of the mixer."""
        return self.mixer.state_size(time)

    def inner(
        self, x: Float[Tensor, "batch dim"], state: Any
    ) -> tuple[Float[Tensor, "batch out"], Any]:
        """Map one input by the mixer, as a part of `cell`."""
        step = self.mixer.cell if isinstance(self.mixer, Cell) else self.mixer.step
        return step(x, state)
