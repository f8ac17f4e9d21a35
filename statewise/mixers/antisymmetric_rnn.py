r"""AntisymmetricRNN: Euler steps of a differential equation that neither decays nor grows.

Chang, Chen, Haber and Chi, "AntisymmetricRNN: A Dynamical System View on Recurrent Neural
Networks", 2019, arXiv:1902.09689.

    M = U - U^T - gamma I
    h_t = h_{t-1} + epsilon tanh(M h_{t-1} + V x_t + b)
    y_t = h_t

The eigenvalues of U - U^T are imaginary; gamma damps what the Euler steps would make grow. U starts
normal with variance 1 / hidden, V with variance 1 / dim, and b at zero.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  U is a whole matrix, of which only the antisymmetric part counts; the paper keeps the
         triangle above the diagonal.
See also gated_antisymmetric_rnn.py, cornn.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.antisymmetric import Antisymmetric


class AntisymmetricRNNState(NamedTuple):
    """What an AntisymmetricRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class AntisymmetricRNN(Antisymmetric[AntisymmetricRNNState]):
    """Antisymmetric recurrent network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        epsilon: the step size: about one over how many inputs the memory should hold.
        gamma: the strength of diffusion.
    """

    remembers = AntisymmetricRNNState

    def __init__(
        self, dim: int, hidden: int | None = None, *, epsilon: float = 0.01, gamma: float = 0.01
    ):
        super().__init__("antisymmetric_rnn", dim, hidden, epsilon, gamma)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: AntisymmetricRNNState
    ) -> tuple[Float[Tensor, "batch hidden"], AntisymmetricRNNState]:
        """Map one input."""
        h = state.h + self.epsilon * (self.input(x) + self.turned(state.h)).tanh()
        return h, AntisymmetricRNNState(h)

    @classmethod
    def example(cls) -> "AntisymmetricRNN":
        """Return a small instance."""
        return cls(dim=4, epsilon=0.1, gamma=0.1)
