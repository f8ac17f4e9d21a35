r"""IndRNN: every unit reads its own last value alone, and the next layer mixes them.

Li, Li, Cook, Zhu and Gao, "Independently Recurrent Neural Network (IndRNN): Building A Longer and
Deeper RNN", 2018, arXiv:1803.04831, sections 3 and 4.

    h_t = relu(W x_t + u * h_{t-1} + b)        or tanh in place of relu
    y_t = h_t

Over T steps a value grows or shrinks by u ** T, so u is kept in [-bound, bound]: call `clip` after
every step of the optimizer. A bound of 2 ** (1 / T) lets nothing grow by more than 2.

u starts uniform in [least, bound]: for a layer that is read at the last step alone the paper takes
least = (1 / 2) ** (1 / T). W starts as the authors' program has it, He's uniform numbers for a
leaky slope of 8, and b at zero.

Family   gated cell
Forms    loop; step
State    h, (batch, hidden)
Cost     O(time hidden dim) work, time steps one after another; O(hidden dim) in `step`
Differs  One layer: batch norms, residual and dense wiring are the stack's.
See also elman.py, irnn.py
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops import cells


class IndRNNState(NamedTuple):
    """What an IndRNN remembers."""

    h: Float[Tensor, "batch hidden"]


class IndRNN(Recurrent[IndRNNState]):
    """Independently recurrent neural network.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        nonlinearity: "relu" or "tanh".
        bound: the largest recurrent weight that `clip` leaves.
        least: where recurrent weights start, from here to `bound`.
    """

    remembers = IndRNNState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        nonlinearity: str = "relu",
        bound: float = 1.0,
        least: float = 0.0,
    ):
        super().__init__()
        if nonlinearity not in ("relu", "tanh"):
            raise ValueError(f"indrnn: nonlinearity = {nonlinearity!r} should be 'relu' or 'tanh'")
        if not 0 <= least <= bound:
            raise ValueError(f"indrnn: least = {least} should be from 0 to bound = {bound}")
        self.dim, self.nonlinearity, self.bound = dim, nonlinearity, bound
        self.out = dim if hidden is None else hidden
        self.input = nn.Linear(dim, self.out)
        self.recurrent = nn.Parameter(torch.empty(self.out).uniform_(least, bound))
        nn.init.kaiming_uniform_(self.input.weight, a=8)
        nn.init.zeros_(self.input.bias)

    @torch.no_grad()
    def clip(self) -> None:
        """Bring recurrent weights back into their bounds, in place."""
        self.recurrent.clamp_(-self.bound, self.bound)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.out,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: IndRNNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], IndRNNState]:
        """Map inputs."""
        kind = cells.INDRNN_RELU if self.nonlinearity == "relu" else cells.INDRNN_TANH
        weights = cells.Weights(self.input.weight, self.recurrent, self.input.bias)
        y, after = run(cells.recur, kind, x, weights, initial=tuple(state))
        return y, IndRNNState(*after)

    @classmethod
    def example(cls) -> "IndRNN":
        """Return a small instance."""
        return cls(dim=4)
