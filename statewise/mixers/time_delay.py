r"""Time-delay layer: every output is a map of the last few inputs, all features of all of them.

Waibel, Hanazawa, Hinton, Shikano and Lang, "Phoneme recognition using time-delay neural networks",
IEEE Transactions on Acoustics, Speech, and Signal Processing 37, 1989, section II.A.

    y_t = f(b + sum_{j=0}^{width-1} W_j x_{t - width + 1 + j})    x is 0 before the start or a reset

f is the sigmoid there, and nothing here unless it is asked for: a linear map of a window, which
makes of a tagger with a CRF a linear one.

Family   part
Forms    all positions at once; step
State    past, (batch, width - 1, dim): the last inputs, oldest first
Cost     O(time width dim hidden) work in `forward`; O(width dim hidden) in `step`
Differs  W and b start as torch.nn.Linear's of width dim inputs.
See also short_convolution.py, tcn.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.mixers.parts.taps import taps

_FUNCTIONS = {
    "none": nn.Identity(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


class TimeDelayState(NamedTuple):
    """What a time-delay layer remembers."""

    past: Float[Tensor, "batch past dim"]


class TimeDelay(Recurrent[TimeDelayState]):
    """Map of a window of inputs.

    Args:
        dim: features read.
        hidden: features answered; `dim` if absent.
        width: inputs that each output reads, the present one included.
        activation: what the map goes through: "none", "sigmoid", "tanh" or "relu".
    """

    remembers = TimeDelayState

    def __init__(
        self, dim: int, hidden: int | None = None, *, width: int = 3, activation: str = "none"
    ):
        super().__init__()
        if width < 1:
            raise ValueError(f"time_delay: width = {width} should be at least 1")
        if activation not in _FUNCTIONS:
            raise ValueError(
                f"time_delay: activation = {activation!r} should be one of {', '.join(_FUNCTIONS)}"
            )
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.width, self.activation = width, activation
        self.window = Linear(width * dim, self.hidden)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of the inputs before the present one."""
        return {"past": (self.width - 1, self.dim)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: TimeDelayState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], TimeDelayState]:
        """Map inputs."""
        seen, past = run(taps, x, self.width, 1, initial=state.past)
        return _FUNCTIONS[self.activation](self.window(seen)), TimeDelayState(past)

    @classmethod
    def example(cls) -> "TimeDelay":
        """Return a small instance."""
        return cls(dim=4, hidden=3)
