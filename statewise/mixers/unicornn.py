r"""UnICORNN: undamped oscillators, each with a frequency of its own, that read inputs alone.

Rusch and Mishra, "UnICORNN: A recurrent model for learning very long time dependencies", 2021,
arXiv:2103.05487.

    s = sigmoid(c)                                         how fast each oscillator's time runs
    z_t = z_{t-1} - dt s * (tanh(w * y_{t-1} + V x_t + b) + alpha y_{t-1})
    y_t = y_{t-1} + dt s * z_t

y are positions, z speeds. w, c and s have a number for each oscillator: they do not read one
another, and layers are to be stacked. The step is symplectic, and can be undone exactly.

w starts uniform from 0 to 1, c from -0.1 to 0.1, b at zero, and V by He's uniform rule for a leaky
relu of slope 8.

Family   oscillator
Forms    program; step
State    y and z, (batch, hidden) each
Cost     O(time dim hidden) work, in one product but for O(time hidden); O(dim hidden) in `step`
Differs  One layer: residual connections and dropout between layers are the stack's. The defaults
         are the authors' for permuted sequential MNIST.
See also cornn.py, brc.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class UnICORNNState(NamedTuple):
    """What independent oscillators remember: where they are, and how fast they move."""

    y: Float[Tensor, "batch hidden"]
    z: Float[Tensor, "batch hidden"]


class UnICORNN(GatedCell[UnICORNNState]):
    """Undamped independent controlled oscillatory recurrent network.

    Args:
        dim: features read.
        hidden: oscillators, whose positions are answered; `dim` if absent.
        dt: the longest time step.
        alpha: the strength of the springs. With dt ** 2 * (alpha + 1) below 4 no step
            is too long at the start.
    """

    remembers, recurrent_gates = UnICORNNState, 0

    def __init__(
        self, dim: int, hidden: int | None = None, *, dt: float = 0.19, alpha: float = 30.65
    ):
        if dt <= 0 or alpha < 0:
            raise ValueError(
                f"unicornn: dt = {dt} should be above 0, and alpha = {alpha} at least 0"
            )
        super().__init__(dim, hidden)
        self.dt, self.alpha = dt, alpha
        nn.init.kaiming_uniform_(self.input.weight, a=8)
        self.feedback = nn.Parameter(torch.empty(self.hidden).uniform_(0, 1))
        self.control = nn.Parameter(torch.empty(self.hidden).uniform_(-0.1, 0.1))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: UnICORNNState
    ) -> tuple[Float[Tensor, "batch hidden"], UnICORNNState]:
        """Map one input."""
        y, z = state
        step = self.dt * self.control.sigmoid()
        z = z - step * ((self.feedback * y + self.input(x)).tanh() + self.alpha * y)
        y = y + step * z
        return y, UnICORNNState(y, z)

    @classmethod
    def example(cls) -> "UnICORNN":
        """Return a small instance."""
        return cls(dim=4)
