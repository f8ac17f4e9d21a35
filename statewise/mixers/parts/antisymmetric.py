"""What the antisymmetric networks share: a recurrent matrix that turns states. No mixer itself."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from statewise.mixers.base import State
from statewise.mixers.parts.gated_cell import GatedCell


class Antisymmetric(GatedCell[State]):
    """A cell whose recurrent matrix is M = U - U^T - gamma I.

    U starts normal with variance 1 / hidden, the input weights with variance 1 / dim.

    Args:
        mixer: its name, for errors.
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        epsilon: the step size.
        gamma: the strength of diffusion, which damps.
    """

    recurrent_gates = 1

    def __init__(self, mixer: str, dim: int, hidden: int | None, epsilon: float, gamma: float):
        if epsilon <= 0 or gamma < 0:
            raise ValueError(
                f"{mixer}: epsilon = {epsilon} should be above 0, and gamma = {gamma} at least 0"
            )
        super().__init__(dim, hidden)
        self.epsilon, self.gamma = epsilon, gamma
        nn.init.normal_(self.input.weight, std=dim**-0.5)
        nn.init.normal_(self.recurrent.weight, std=self.hidden**-0.5)

    def turned(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return M h."""
        weight = self.recurrent.weight
        return linear(h, weight - weight.t()) - self.gamma * h
