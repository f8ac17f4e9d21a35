r"""Echo-state network: a random recurrent layer that is never trained, under a linear readout.

Jaeger, "The 'echo state' approach to analysing and training recurrent neural networks", GMD report
148, 2001; leaky: Jaeger et al., "Optimization and Applications of Echo State Networks with
Leaky-Integrator Neurons", Neural Networks 20(3), 2007, section 2.

    h_t = (1 - leak) h_{t-1} + leak tanh(W_in x_t + b + W h_{t-1})
    y_t = h_t

W_in, b and W are buffers. Each unit reads `density` of the units, by normal weights that are scaled
so that the largest eigenvalue of (1 - leak) I + leak W has modulus `radius`; W_in and b are uniform
in (-input_scale, input_scale) and (-bias_scale, bias_scale). A radius below 1 is no promise that
the past is forgotten; with leak = 1, a largest singular value of W below 1 is.

Family   reservoir
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  No feedback of what was predicted. The readout is `statewise.analysis.readout`.
See also deep_echo_state.py, residual_echo_state.py, elman.py
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from statewise.mixers.base import Cell
from statewise.mixers.parts.reservoir import reservoir, uniform


class EchoStateState(NamedTuple):
    """What an echo-state network remembers."""

    h: Float[Tensor, "batch hidden"]


class EchoState(Cell[EchoStateState]):
    """Reservoir of leaky tanh units; it has no trainable parameters.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        radius: spectral radius.
        leak: how much of a unit is new at each time.
        density: the part of the units that each unit reads, at least one of them.
        input_scale: the largest weight of an input.
        bias_scale: the largest bias.
    """

    remembers = EchoStateState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        radius: float = 0.9,
        leak: float = 1.0,
        density: float = 0.1,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.leak = leak
        W = reservoir("echo_state", self.hidden, radius=radius, density=density, leak=leak)
        self.register_buffer("recurrent", W)
        self.register_buffer("input", uniform(self.hidden, dim, scale=input_scale))
        self.register_buffer("bias", uniform(self.hidden, scale=bias_scale))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: EchoStateState
    ) -> tuple[Float[Tensor, "batch hidden"], EchoStateState]:
        """Map one input."""
        W, W_in, b = map(self.get_buffer, ("recurrent", "input", "bias"))
        new = (linear(x, W_in, b) + linear(state.h, W)).tanh()
        h = (1 - self.leak) * state.h + self.leak * new
        return h, EchoStateState(h)

    @classmethod
    def example(cls) -> "EchoState":
        """Return a small instance."""
        return cls(dim=4, hidden=6, leak=0.4, density=0.5)
