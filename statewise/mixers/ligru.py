r"""LiGRU: a GRU without a reset gate, whose candidate is rectified and whose inputs are normalized.

Ravanelli, Brakel, Omologo and Bengio, "Light Gated Recurrent Units for Speech Recognition", 2018,
arXiv:1803.10225.

    z_t = sigmoid(N_z(W_z x_t) + U_z h_{t-1})              update gate
    c_t = relu(N_c(W_c x_t) + U_c h_{t-1})                 candidate
    h_t = z_t * h_{t-1} + (1 - z_t) * c_t
    y_t = h_t

N_z and N_c are layer norms with a factor and a bias for each feature; without them, W_z x_t and
W_c x_t have biases. Nothing bounds h, since relu does not. Each U starts orthogonal, each W Xavier.

Family   gated cell
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  Layer norm where the paper has batch norm, whose statistics over rows and times would make
         outputs depend on other rows and on the future. The dropout mask that the paper holds fixed
         over time is absent: it would be random numbers in the state.
See also gru.py, ugrnn.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.gated_cell import GatedCell


class LiGRUState(NamedTuple):
    """What a LiGRU remembers."""

    h: Float[Tensor, "batch hidden"]


class LiGRU(GatedCell[LiGRUState]):
    """Light gated recurrent unit.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        norm: whether what is read of the input is normalized.
    """

    remembers, gates = LiGRUState, 2

    def __init__(self, dim: int, hidden: int | None = None, *, norm: bool = True):
        super().__init__(dim, hidden, bias=not norm)
        self.norms = nn.ModuleList(
            nn.LayerNorm(self.hidden) if norm else nn.Identity() for _ in range(2)
        )

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LiGRUState
    ) -> tuple[Float[Tensor, "batch hidden"], LiGRUState]:
        """Map one input."""
        parts = zip(self.norms, self.input(x).chunk(2, -1), strict=True)
        for_gate, for_candidate = (norm(part) for norm, part in parts)
        gate, candidate = self.recurrent(state.h).chunk(2, -1)
        h = (for_candidate + candidate).relu().lerp(state.h, (for_gate + gate).sigmoid())
        return h, LiGRUState(h)

    @classmethod
    def example(cls) -> "LiGRU":
        """Return a small instance."""
        return cls(dim=4)
