r"""LMU: Legendre polynomials hold a sliding window of what was written, read out at once.

Voelker, Kajic and Eliasmith, "Legendre Memory Units: Continuous-Time Representation in Recurrent
Neural Networks", NeurIPS 2019, section 2; in the form of Chilkuri and Eliasmith, "Parallelizing
Legendre Memory Unit Training", ICML 2021, arXiv:2102.11417, section 3.

    u_t = gelu(W_u x_t + b_u)                     signals to remember
    m_t = A' m_{t-1} + B' u_t                     each signal by `order` polynomials
    y_t = gelu(W_m m_t + W_x x_t + b)

A' and B' are the Legendre delay of `window` inputs, held in between, and stay as they are.

Family   linear diagonal
Forms    scan; step
State    m, (batch, signals, order), signals * order numbers
Cost     O(time (signals order (order + dim) + dim^2)) work in `forward`; the same in `step` for one
Differs  The cell of 2019 also writes what it reads from its memory and from a tanh network beside
         it, which no scan computes; this is the form without that, as the second paper trains it.
         Its activations are not given there for every task: here they are GELU.
See also lssl.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.hippo import delay, zero_order_hold
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.matrix_scan import matrix_scan


class LMUState(NamedTuple):
    """What the Legendre memory unit remembers."""

    m: Float[Tensor, "batch signals order"]


class LMU(Recurrent[LMUState]):
    """Legendre memory unit.

    Args:
        dim: features read and answered.
        signals: how many are remembered; `dim` if absent.
        order: polynomials of each signal; more than `window` resolve nothing more.
        window: how many inputs are remembered, nearly.
    """

    remembers = LMUState

    def __init__(self, dim: int, *, signals: int | None = None, order: int = 16, window: int = 128):
        super().__init__()
        if order < 1 or window < 1:
            raise ValueError(f"lmu: order = {order} and window = {window} should be at least 1")
        self.dim = self.out = dim
        self.signals = dim if signals is None else signals
        self.order, self.window = order, window
        # No buffers: `module.to(bfloat16)` would round a transition near one to one that grows.
        self.transition, self.write = zero_order_hold(delay(order), 1 / window)
        self.enter = Linear(dim, self.signals)
        self.read = Linear(self.signals * order, dim)
        self.skip = Linear(dim, dim, bias=False)
        for layer in (self.enter, self.read, self.skip):
            nn.init.xavier_normal_(layer.weight)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of m."""
        return {"m": (self.signals, self.order)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: LMUState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], LMUState]:
        """Map inputs with one scan."""
        wide = state_dtype(x.dtype)
        transition, write = self.transition.to(x.device, wide), self.write.to(x.device, wide)
        drive = gelu(self.enter(x)).to(wide)[..., None] * write
        transition = transition.expand(self.signals, -1, -1)
        m, last = run(matrix_scan, transition, drive, initial=state.m)
        read = self.read(m.to(x.dtype).flatten(-2))
        return gelu(read + self.skip(x)), LMUState(last)

    @classmethod
    def example(cls) -> "LMU":
        """Return a small instance."""
        return cls(dim=4, signals=3, order=4, window=9)
