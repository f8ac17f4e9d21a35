r"""Liquid-S4: S4D whose inputs also steer how it forgets, so that it sees products of inputs.

Hasani et al., "Liquid Structural State-Space Models", 2022, arXiv:2209.12951, section 3; the layer
around it is that of S4.

    a = -exp(log_rate) + i frequency                     complex, of each oscillator
    B' = (exp(step a) - 1) / a * B                       zero-order hold; step of each feature
    decay_t = exp(step a) + B' x_t                       scaled back to modulus 1 where beyond it
    h_t = decay_t * h_{t-1} + B' x_t
    s_t = 2 Re(sum C * h_t) + skip x_t                   one of each pair of conjugates is kept
    y_t = glu(W gelu(s_t) + b)

Family   linear diagonal
Forms    scan; step
State    h, (batch, dim, state / 2) complex: dim * state / 2 numbers, complex
Cost     O(time dim (state + dim)) work in `forward`; O(dim (state + dim)) in `step`
Differs  The recurrence itself, by a scan, where the paper's layer adds convolutions with products
         of a few inputs, an approximation. A decay keeps within the unit disc: without that large
         inputs let h explode.
See also s4d.py
"""

from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.s4d import S4D
from statewise.ops.scan import scan


class LiquidS4State(NamedTuple):
    """What Liquid-S4 remembers."""

    h: Complex[Tensor, "batch dim half"]


class LiquidS4(S4D):
    """Diagonal state space with decays that the input steers; arguments are those of S4D."""

    remembers = LiquidS4State
    piece: ClassVar[int] = 256
    """Inputs that are read at a time.

    What the scan reads has `state` numbers for each input: 8,192 inputs of 48 features filled a
    gigabyte, which took three times as long as in pieces of 128 to 512.
    """

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: Any = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], Any]:
        """Map a whole sequence, a piece at a time."""
        if x.shape[1] <= self.piece:
            return super().forward(x, state, reset=reset, lengths=lengths)
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=state_dtype(x.dtype))
        ys: list[Tensor] = []
        for begin in range(0, x.shape[1], self.piece):
            part = slice(begin, begin + self.piece)
            y, state = super().forward(
                x[:, part],
                state,
                reset=None if reset is None else reset[:, part],
                lengths=None if lengths is None else (lengths - begin).clamp(0, self.piece),
            )
            ys.append(y)
        return torch.cat(ys, 1), state

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], Any]:
        """Map inputs with one scan."""
        decay, write, read = self.system(state_dtype(x.dtype))
        drive = write * x[..., None]
        decay = decay + drive
        decay = decay / decay.abs().clamp(min=1)
        h, last = run(scan, decay.flatten(-2), drive.flatten(-2), initial=state.h.flatten(1))
        y = (read * h.unflatten(-1, read.shape)).sum(-1).real.to(x.dtype)
        return self.output(y + self.skip * x), LiquidS4State(last.unflatten(1, read.shape))

    @classmethod
    def example(cls) -> "LiquidS4":
        """Return a small instance."""
        return cls(dim=4, state=6)
