"""What mixers share that are linear systems, the same at all times: no mixer itself."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import State, state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.rates import log_uniform
from statewise.mixers.parts.recurrent import Recurrent, Run
from statewise.ops.convolution import diagonal_convolution


class StateSpace(Recurrent[State]):
    """A mixer of systems, one for each feature, with a skip and a map after them.

        h_t = decay * h_{t-1} + write * x_t
        y_t = output(Re(sum of read * h_t) + skip * x_t)

    A subclass names its state, with one leaf `h`, gives `output`, and writes `system`.
    """

    complex_leaves = ("h",)
    op: ClassVar[Callable[..., Any]] = staticmethod(diagonal_convolution)
    """Which convolution: with the dense one, decays are matrices."""

    output: nn.Module
    """From the systems' answers to the mixer's."""

    def __init__(self, dim: int, state: int, steps: tuple[float, float]):
        super().__init__()
        self.dim = self.out = dim
        self.state = state
        self.log_step = nn.Parameter(log_uniform(*steps, dim).log())
        self.skip = nn.Parameter(torch.randn(dim))

    @abc.abstractmethod
    def system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return decay, write and read of all features, (dim, state) each, computed in `dtype`."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.dim, self.state)}

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: Any, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], State]:
        """Map inputs with one convolution."""
        system = self.system(state_dtype(x.dtype))
        y, h = run(self.op, x, *system, initial=state.h)
        return self.output(y + self.skip * x), self.remembers(h)


def complex_normal(*shape: int) -> Float[Tensor, "*axes 2"]:
    """Return complex numbers of variance 1, as pairs."""
    return torch.randn(*shape, 2) * 0.5**0.5


def as_complex(pairs: Float[Tensor, "*axes 2"], dtype: torch.dtype) -> Tensor:
    """Return pairs of a parameter as complex numbers with parts of `dtype`.

    Parameters are real, so that `module.to(float64)` keeps both parts.
    """
    return torch.complex(*pairs.to(dtype).unbind(-1))


def gated(dim: int) -> nn.Sequential:
    """Return the output map of S4's layers: GELU, then a gated linear unit."""
    return nn.Sequential(nn.GELU(), Linear(dim, 2 * dim), nn.GLU())


def positive_even(mixer: str, state: int) -> None:
    """Refuse a state of numbers that come not in pairs.

    Raises:
        ValueError: names the mixer and the size.
    """
    if state < 2 or state % 2:
        raise ValueError(f"{mixer}: state = {state} should be even and at least 2: pairs")
