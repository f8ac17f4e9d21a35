r"""HiPPO-RNN: a gated network beside a memory of polynomials, which it writes and reads.

Gu et al., "HiPPO: Recurrent Memory with Optimal Polynomial Projections", 2020, arXiv:2008.07669,
section 4, the architecture.

    u_t = W_u [x_t, h_{t-1}] + b_u                      signals to remember
    m_t = A'_k m_{t-1} + B'_k u_t                       each by `order` numbers; k inputs were read
    g_t = sigmoid(W_g [x_t, m_t] + b_g)
    h_t = (1 - g_t) * h_{t-1} + g_t * tanh(W_h [x_t, m_t] + b_h)
    y_t = h_t

LegS: A', B' are the bilinear rule for A / k, B / k, and the first input is m_1 = u_1 e_0. The other
measures: zero-order hold, always the same.

Family   gated cell
Forms    loop; step
State    h, (batch, hidden); m, (batch, signals, order); position, (batch,), k above:
         hidden + signals * order + 1 numbers
Cost     O(time (hidden (dim + signals order) + signals order^2)) work, time steps one after
         another; as much for one in `step`
Differs  LegS counts on without end, where the published code stops at a longest length.
See also lmu.py, lssl.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statewise.mixers.base import Cell, zeros
from statewise.mixers.parts.hippo import MEASURES, zero_order_hold
from statewise.mixers.parts.linear import Linear


class HiPPORNNState(NamedTuple):
    """What a HiPPO-RNN remembers."""

    h: Float[Tensor, "batch hidden"]
    m: Float[Tensor, "batch signals order"]
    position: Int[Tensor, " batch"]


class HiPPORNN(Cell[HiPPORNNState]):
    """Gated recurrent network with a HiPPO memory.

    Args:
        dim: features read.
        hidden: features answered and of the network; `dim` if absent.
        signals: how many are remembered.
        order: numbers of each signal.
        measure: which past counts: all the same ("legs"), a window's ("legt", "fourier"), or the
            less the longer ago ("lagt").
        window: how many inputs are remembered, nearly; not read by "legs".
    """

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        signals: int = 1,
        order: int = 64,
        measure: str = "legs",
        window: int = 128,
    ):
        super().__init__()
        if measure not in MEASURES:
            raise ValueError(
                f"hippo_rnn: measure = {measure!r} should be one of {', '.join(MEASURES)}"
            )
        if min(signals, order, window) < 1 or (measure == "fourier" and order % 2):
            raise ValueError(
                f"hippo_rnn: signals = {signals}, order = {order} and window = {window} should be "
                "at least 1, and Fourier's order even"
            )
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.signals, self.order, self.measure = signals, order, measure
        # No buffers: `module.to(bfloat16)` would round them.
        self.system = MEASURES[measure](order)
        if measure != "legs":
            self.system = zero_order_hold(self.system, 2 / window)
        self.write = Linear(dim + self.hidden, signals)
        self.read = Linear(dim + signals * order, 2 * self.hidden)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> HiPPORNNState:
        """Return zeros."""
        h = zeros(self, batch, self.hidden, device=device, dtype=dtype)
        m = zeros(self, batch, self.signals, self.order, device=device, dtype=dtype)
        return HiPPORNNState(h, m, torch.zeros(batch, dtype=torch.int64, device=h.device))

    def cell(
        self, x: Float[Tensor, "batch dim"], state: HiPPORNNState
    ) -> tuple[Float[Tensor, "batch hidden"], HiPPORNNState]:
        """Map one input."""
        h, m, position = state
        u = self.write(torch.cat([x, h.to(x.dtype)], -1)).to(h.dtype)
        m = self.remember(u, m, position)
        seen = torch.cat([x, m.to(x.dtype).flatten(1)], -1)
        candidate, gate = self.read(seen).to(h.dtype).chunk(2, -1)
        h = h + gate.sigmoid() * (candidate.tanh() - h)
        return h.to(x.dtype), HiPPORNNState(h, m, position + 1)

    def remember(
        self,
        u: Float[Tensor, "batch signals"],
        m: Float[Tensor, "batch signals order"],
        position: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch signals order"]:
        """Return the memory after one more value of every signal."""
        A, B = (part.to(m.device, m.dtype) for part in self.system)
        if self.measure != "legs":
            return m @ A.T + u[..., None] * B
        step = 1 / position.clamp(min=1).to(m.dtype)[:, None, None]
        right = m + step / 2 * (m @ A.T) + step * u[..., None] * B
        left = torch.eye(self.order, dtype=m.dtype, device=m.device) - step / 2 * A
        m = torch.linalg.solve_triangular(left, right.mT, upper=False).mT
        first = torch.nn.functional.pad(u[..., None], (0, self.order - 1))
        return torch.where(position[:, None, None] == 0, first, m)

    def state_size(self, time: int) -> int:
        """Return hidden + signals * order + 1, whatever was read."""
        return self.hidden + self.signals * self.order + 1

    @classmethod
    def example(cls) -> "HiPPORNN":
        """Return a small instance."""
        return cls(dim=3, hidden=4, signals=2, order=5)
