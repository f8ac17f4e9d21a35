r"""LMU cell: a tanh network beside a Legendre memory, each writing and reading the other.

Voelker, Kajic and Eliasmith, "Legendre Memory Units: Continuous-Time Representation in Recurrent
Neural Networks", NeurIPS 2019, equations 1 to 7.

    u_t = e_x . x_t + e_h . h_{t-1} + e_m . m_{t-1}     the one signal remembered
    m_t = A' m_{t-1} + B' u_t                           by `order` polynomials
    h_t = tanh(W_x x_t + W_h h_{t-1} + W_m m_t)
    y_t = h_t

A' and B' are the Legendre delay of `window` inputs, held in between, and stay as they are.

Family   gated cell
Forms    loop; step
State    h, (batch, hidden); m, (batch, order): hidden + order numbers
Cost     O(time (hidden (dim + hidden + order) + order^2)) work, time steps one after another; as
         much for one in `step`
Differs  A' and B' are rounded to the precision of the state at every use, never learned.
See also lmu.py, hippo_rnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import Cell, zeros
from statewise.mixers.parts.hippo import delay, zero_order_hold
from statewise.mixers.parts.linear import Linear


class LMUCellState(NamedTuple):
    """What the Legendre memory unit of 2019 remembers."""

    h: Float[Tensor, "batch hidden"]
    m: Float[Tensor, "batch order"]


class LMUCell(Cell[LMUCellState]):
    """Legendre memory unit as a recurrent cell.

    Args:
        dim: features read.
        hidden: features answered and of the network; `dim` if absent.
        order: polynomials of the signal.
        window: how many inputs are remembered, nearly.
    """

    def __init__(self, dim: int, hidden: int | None = None, *, order: int = 64, window: int = 128):
        super().__init__()
        if order < 1 or window < 1:
            raise ValueError(
                f"lmu_cell: order = {order} and window = {window} should be at least 1"
            )
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.order = order
        # No buffers: `module.to(bfloat16)` would round a transition near one to one that grows.
        self.system = zero_order_hold(delay(order), 1 / window)
        self.write_input = Linear(dim, 1, bias=False)
        self.write_hidden = Linear(self.hidden, 1, bias=False)
        self.write_memory = Linear(order, 1, bias=False)
        self.from_input = Linear(dim, self.hidden, bias=False)
        self.from_hidden = Linear(self.hidden, self.hidden, bias=False)
        self.from_memory = Linear(order, self.hidden, bias=False)
        for layer in (self.write_input, self.write_hidden):
            # LeCun's uniform start.
            bound = (3 / layer.in_features) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)
        nn.init.zeros_(self.write_memory.weight)
        for layer in (self.from_input, self.from_hidden, self.from_memory):
            nn.init.xavier_normal_(layer.weight)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> LMUCellState:
        """Return zeros."""
        h, m = (
            zeros(self, batch, size, device=device, dtype=dtype)
            for size in (self.hidden, self.order)
        )
        return LMUCellState(h, m)

    def cell(
        self, x: Float[Tensor, "batch dim"], state: LMUCellState
    ) -> tuple[Float[Tensor, "batch hidden"], LMUCellState]:
        """Map one input."""
        wide = state.m.dtype
        h, m = state.h.to(x.dtype), state.m.to(x.dtype)
        u = self.write_input(x) + self.write_hidden(h) + self.write_memory(m)
        A, B = (part.to(x.device, wide) for part in self.system)
        kept = state.m @ A.T + u.to(wide) * B
        inner = self.from_input(x) + self.from_hidden(h) + self.from_memory(kept.to(x.dtype))
        answer = inner.to(wide).tanh()
        return answer.to(x.dtype), LMUCellState(answer, kept)

    def state_size(self, time: int) -> int:
        """Return hidden + order, whatever was read."""
        return self.hidden + self.order

    @classmethod
    def example(cls) -> "LMUCell":
        """Return a small instance."""
        return cls(dim=3, hidden=4, order=4, window=9)
