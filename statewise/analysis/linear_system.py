"""A linear system given by its matrices, which can be measured as mixers are.

shift = LinearSystem(torch.eye(20).roll(1, 0).tril(-1), torch.eye(20)[0])
memory_curve(shift, x, lags=40)     20 ones
"""

from jaxtyping import Float
from torch import Tensor, nn


class LinearSystem(nn.Module):
    """h_t = A h_{t-1} + B x_t, of one input, that answers with its state.

    Args:
        A: the transition.
        B: what an input adds.
    """

    def __init__(self, A: Float[Tensor, "state state"], B: Float[Tensor, " state"]):
        super().__init__()
        self.A, self.B = A, B

    def initial_state(self, batch: int) -> Float[Tensor, "batch state"]:
        """Return zeros."""
        return self.B.new_zeros(batch, len(self.B))

    def state_size(self, time: int) -> int:
        """Return how many numbers there are, at any time."""
        return len(self.B)

    def step(
        self, x: Float[Tensor, "batch one"], state: Float[Tensor, "batch state"]
    ) -> tuple[Float[Tensor, "batch state"], Float[Tensor, "batch state"]]:
        """Map one input."""
        state = state @ self.A.mT + x * self.B
        return state, state

    def forward(
        self, x: Float[Tensor, "batch time one"], state: Float[Tensor, "batch state"] | None = None
    ) -> tuple[Float[Tensor, "batch time state"], Float[Tensor, "batch state"]]:
        """Map a whole sequence."""
        state = self.initial_state(len(x)) if state is None else state
        held = x.new_empty(*x.shape[:2], len(self.B))
        for time, x_t in enumerate(x.unbind(1)):
            held[:, time], state = self.step(x_t, state)
        return held, state
