r"""Gated AntisymmetricRNN: a gate says how far each Euler step of an antisymmetric network goes.

Chang, Chen, Haber and Chi, "AntisymmetricRNN: A Dynamical System View on Recurrent Neural
Networks", 2019, arXiv:1902.09689.

    M = U - U^T - gamma I
    z_t = sigmoid(M h_{t-1} + V_z x_t + b_z)               gate
    h_t = h_{t-1} + epsilon z_t * tanh(M h_{t-1} + V_h x_t + b_h)
    y_t = h_t

Both read the same product with M. U starts normal with variance 1 / hidden, each V with variance
1 / dim, and the biases at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  U is a whole matrix, of which only the antisymmetric part counts; the paper keeps the
         triangle above the diagonal.
See also antisymmetric_rnn.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.antisymmetric import Antisymmetric


class GatedAntisymmetricRNNState(NamedTuple):
    """What a gated AntisymmetricRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class GatedAntisymmetricRNN(Antisymmetric[GatedAntisymmetricRNNState]):
    """Antisymmetric recurrent network with a gate.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        epsilon: the step size: about one over how many inputs the memory should hold.
        gamma: the strength of diffusion.
    """

    remembers, gates = GatedAntisymmetricRNNState, 2

    def __init__(
        self, dim: int, hidden: int | None = None, *, epsilon: float = 0.01, gamma: float = 0.01
    ):
        super().__init__("gated_antisymmetric_rnn", dim, hidden, epsilon, gamma)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: GatedAntisymmetricRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], GatedAntisymmetricRNNState]:
        """Map one input."""
        turned = self.turned(state.h)
        gate, candidate = self.input(x).chunk(2, -1)
        change = (gate + turned).sigmoid() * (candidate + turned).tanh()
        h = state.h + self.epsilon * change
        return h, GatedAntisymmetricRNNState(h)

    @classmethod
    def example(cls) -> "GatedAntisymmetricRNN":
        """Return a small instance."""
        return cls(dim=4, epsilon=0.1, gamma=0.1)
