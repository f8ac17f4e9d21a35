r"""Peephole LSTM: gates also read the cells they guard; with the variants of a search-space study.

Gers, Schraudolph and Schmidhuber, "Learning Precise Timing with LSTM Recurrent Networks", Journal
of Machine Learning Research 3, 2002, section 3; the variants from Greff et al., "LSTM: A Search
Space Odyssey", 2017, arXiv:1503.04069, section 3.

    i_t = sigmoid(W_i x_t + U_i h_{t-1} + p_i * c_{t-1} + b_i)       input gate
    f_t = sigmoid(W_f x_t + U_f h_{t-1} + p_f * c_{t-1} + b_f)       forget gate
    z_t = tanh(W_z x_t + U_z h_{t-1} + b_z)                          block input
    c_t = f_t * c_{t-1} + i_t * z_t
    o_t = sigmoid(W_o x_t + U_o h_{t-1} + p_o * c_t + b_o)           output gate
    h_t = o_t * tanh(c_t)
    y_t = h_t

Each variant changes one thing:

    V     as above             NIAF  z_t not squashed      CIFG  f_t = 1 - i_t
    NIG   i_t = 1              NOAF  h_t = o_t * c_t       FGR   i, f and o also read, by matrices
    NFG   f_t = 1              NP    p = 0                       of their own, i_{t-1}, f_{t-1}
    NOG   o_t = 1                                                and o_{t-1}

All weights start normal with a deviation of 0.1 and biases at zero, as in the study.

Family   gated cell
Forms    loop; step
State    h and c, (batch, hidden) each; gates, (batch, 3 hidden) in FGR: the last i, f and o; no
         numbers in the others
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`; in FGR every gate reads 4 hidden
Differs  Activations are the study's, tanh before and after the cells; the first paper has others.
See also lstm.py, multiplicative_lstm.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops import cells


class PeepholeLSTMState(NamedTuple):
    """What a peephole LSTM remembers: what it last showed, its cells, and what its gates were."""

    h: Float[Tensor, "batch hidden"]
    c: Float[Tensor, "batch hidden"]
    gates: Float[Tensor, "batch gates"]


class PeepholeLSTM(Recurrent[PeepholeLSTMState]):
    """Long short-term memory with peepholes, or with one thing changed.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        variant: "V", "NIG", "NFG", "NOG", "NIAF", "NOAF", "NP", "CIFG" or "FGR".
        forget_bias: where the biases of the forget gate start, if there is one.
    """

    remembers = PeepholeLSTMState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        variant: str = "V",
        forget_bias: float = 0.0,
    ):
        super().__init__()
        if variant not in cells.ODYSSEY:
            known = ", ".join(cells.ODYSSEY)
            raise ValueError(f"peephole_lstm: variant = {variant!r} should be one of {known}")
        if forget_bias and variant in ("NFG", "CIFG"):
            raise ValueError(f"peephole_lstm: {variant} has no forget gate for a forget_bias")
        self.dim, self.variant = dim, variant
        self.out = self.hidden = dim if hidden is None else hidden
        kind = cells.ODYSSEY[variant]
        self.input = nn.Linear(dim, kind.gates * self.hidden)
        self.recurrent = nn.Linear(
            kind.operands * self.hidden, kind.gates * self.hidden, bias=False
        )
        self.peepholes = (
            nn.Parameter(torch.empty(kind.vectors, self.hidden)) if kind.vectors else None
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.1)
        nn.init.zeros_(self.input.bias)
        if forget_bias:
            before = 0 if variant == "NIG" else self.hidden
            self.input.bias.detach()[before : before + self.hidden] = forget_bias

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return those of h, c and what the gates were."""
        gates = 3 * self.hidden if self.variant == "FGR" else 0
        return {"h": (self.hidden,), "c": (self.hidden,), "gates": (gates,)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: PeepholeLSTMState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], PeepholeLSTMState]:
        """Map inputs."""
        kind, gates = cells.ODYSSEY[self.variant], ()
        if self.variant == "FGR":
            gates = state.gates.chunk(3, -1)
        weights = cells.Weights(
            self.input.weight, self.recurrent.weight, self.input.bias, None, self.peepholes
        )
        y, (h, c, *gates) = run(cells.recur, kind, x, weights, initial=(state.h, state.c, *gates))
        last = torch.cat(gates, -1) if gates else state.gates.clone()
        return y, PeepholeLSTMState(h, c, last)

    @classmethod
    def example(cls) -> "PeepholeLSTM":
        """Return a small instance."""
        return cls(dim=4)
