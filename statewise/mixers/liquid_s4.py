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

from typing import Any, NamedTuple

from jaxtyping import Complex, Float
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
