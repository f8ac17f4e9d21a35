r"""RHN: a recurrent highway network, which thinks several steps about each input.

Zilly, Srivastava, Koutnik and Schmidhuber, "Recurrent Highway Networks", 2017, arXiv:1607.03474,
section 4, with carry gates that are one minus the transform gates.

    s_0 = h_{t-1}
    a_l = tanh([W_a x_t if l = 1] + R_al s_{l-1} + b_al)              for l = 1 ... depth
    t_l = sigmoid([W_t x_t if l = 1] + R_tl s_{l-1} + b_tl)           transform gate
    s_l = a_l * t_l + s_{l-1} * (1 - t_l)
    h_t = s_depth
    y_t = h_t

Weights start uniform in [-scale, scale], b_a at zero and b_t at -2, so that most of the state is
carried; the paper has -4 for characters.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + depth hidden)) work, time depth steps one after another;
         O(hidden (dim + depth hidden)) in `step`
Differs  Its dropout, one mask for each sequence, is left to the model.
See also gru.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class RHNState(NamedTuple):
    """What a recurrent highway network remembers."""

    h: Float[Tensor, "batch hidden"]


class RHN(GatedCell[RHNState]):
    """Recurrent highway network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        depth: steps for each input.
        transform_bias: where the biases of the transform gates start.
        scale: the largest weight at the start.
    """

    remembers, gates = RHNState, 2

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        depth: int = 3,
        transform_bias: float = -2.0,
        scale: float = 0.04,
    ):
        super().__init__(dim, hidden)
        if depth < 1:
            raise ValueError(f"rhn: depth = {depth} should be at least 1")
        self.deeper = nn.ModuleList(
            nn.Linear(self.hidden, 2 * self.hidden) for _ in range(depth - 1)
        )
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -scale, scale)
        for layer in (self.input, *self.deeper):
            bias = layer.get_parameter("bias").detach()
            bias[: self.hidden], bias[self.hidden :] = 0, transform_bias

    def cell(
        self, x: Float[Tensor, "batch dim"], state: RHNState
    ) -> tuple[Float[Tensor, "batch hidden"], RHNState]:
        """Map one input."""
        (h,) = state
        sums = self.input(x) + self.recurrent(h)
        for further in (*self.deeper, None):
            a, t = sums.chunk(2, -1)
            h = h.lerp(a.tanh(), t.sigmoid())
            if further is not None:
                sums = further(h)
        return h, RHNState(h)

    @classmethod
    def example(cls) -> "RHN":
        """Return a small instance."""
        return cls(dim=4)
