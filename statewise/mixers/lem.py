r"""LEM: two states with time steps of their own that inputs choose, so that time scales differ.

Rusch, Mishra, Erichson and Mahoney, "Long Expressive Memory for Sequence Modeling", 2022,
arXiv:2110.04744.

    d_t = dt sigmoid(W_1 x_t + V_1 y_{t-1} + b_1)          time step of y
    e_t = dt sigmoid(W_2 x_t + V_2 y_{t-1} + b_2)          time step of z
    z_t = (1 - e_t) * z_{t-1} + e_t * tanh(W_z x_t + V_z y_{t-1} + b_z)
    y_t = (1 - d_t) * y_{t-1} + d_t * tanh(W_y x_t + V_y z_t + b_y)

y reads the new z. All parameters start uniform up to 1 / sqrt(hidden).

Family   gated cell
Forms    program; step
State    y and z, (batch, hidden) each
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
See also cornn.py, lstm.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class LEMState(NamedTuple):
    """What a long expressive memory remembers: what it shows, and what stands behind it."""

    y: Float[Tensor, "batch hidden"]
    z: Float[Tensor, "batch hidden"]


class LEM(GatedCell[LEMState]):
    """Long expressive memory.

    Args:
        dim: features read.
        hidden: features answered, and half of those remembered; `dim` if absent.
        dt: the longest time step, above 0 and at most 1: the shorter, the longer the memory.
    """

    remembers, gates, recurrent_gates = LEMState, 4, 3

    def __init__(self, dim: int, hidden: int | None = None, *, dt: float = 1.0):
        if not 0 < dt <= 1:
            raise ValueError(f"lem: dt = {dt} should be above 0 and at most 1")
        super().__init__(dim, hidden)
        self.dt = dt
        self.memory = nn.Linear(self.hidden, self.hidden, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden**-0.5), self.hidden**-0.5)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LEMState
    ) -> tuple[Float[Tensor, "batch hidden"], LEMState]:
        """Map one input."""
        first, second, for_z, for_y = self.input(x).chunk(4, -1)
        of_first, of_second, of_z = self.recurrent(state.y).chunk(3, -1)
        d = self.dt * (first + of_first).sigmoid()
        e = self.dt * (second + of_second).sigmoid()
        z = state.z.lerp((for_z + of_z).tanh(), e)
        y = state.y.lerp((for_y + self.memory(z)).tanh(), d)
        return y, LEMState(y, z)

    @classmethod
    def example(cls) -> "LEM":
        """Return a small instance."""
        return cls(dim=4)
