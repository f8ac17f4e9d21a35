r"""coRNN: a network of damped oscillators, coupled by their positions and speeds, driven by inputs.

Rusch and Mishra, "Coupled Oscillatory Recurrent Neural Network (coRNN): An accurate and (gradient)
stable architecture for learning long time dependencies", 2021, arXiv:2010.00951.

    z_t = z_{t-1} + dt (tanh(W y_{t-1} + W_z z_{t-1} + V x_t + b) - gamma y_{t-1} - epsilon z_{t-1})
    y_t = y_{t-1} + dt z_t

y are positions, z speeds; y moves by the new speed. W, W_z and V are one layer, and start as
torch's: uniform up to 1 / sqrt(dim + 2 hidden), b too.

Family   oscillator
Forms    program; step
State    y and z, (batch, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  The defaults are the authors' for sequential MNIST; what each task needs varies widely.
See also unicornn.py, lem.py, antisymmetric_rnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class CoRNNState(NamedTuple):
    """What coupled oscillators remember: where they are, and how fast they move."""

    y: Float[Tensor, "batch hidden"]
    z: Float[Tensor, "batch hidden"]


class CoRNN(GatedCell[CoRNNState]):
    """Coupled oscillatory recurrent network.

    Args:
        dim: features read.
        hidden: oscillators, whose positions are answered; `dim` if absent.
        dt: the time step.
        gamma: the strength of the springs: the square of the frequency.
        epsilon: the damping.
    """

    remembers, recurrent_gates = CoRNNState, 0

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
    ):
        if min(dt, gamma, epsilon) <= 0:
            raise ValueError(
                f"cornn: dt = {dt}, gamma = {gamma} and epsilon = {epsilon} should be above 0"
            )
        super().__init__(dim, hidden)
        self.dt, self.gamma, self.epsilon = dt, gamma, epsilon
        self.recurrent = nn.Linear(2 * self.hidden, self.hidden, bias=False)
        bound = (dim + 2 * self.hidden) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: CoRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], CoRNNState]:
        """Map one input."""
        y, z = state
        drive = (self.input(x) + self.recurrent(torch.cat([y, z], -1))).tanh()
        z = z + self.dt * (drive - self.gamma * y - self.epsilon * z)
        y = y + self.dt * z
        return y, CoRNNState(y, z)

    @classmethod
    def example(cls) -> "CoRNN":
        """Return a small instance."""
        return cls(dim=4, dt=0.3)
