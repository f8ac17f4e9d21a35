r"""Residual echo-state network: a reservoir beside an orthogonal branch that passes its state on.

Ceni and Gallicchio, "Residual Echo State Networks: Residual recurrent neural networks with stable
dynamics and fast learning", Neurocomputing, 2024; Pinna, Ceni and Gallicchio, "Deep Residual Echo
State Networks", 2025, arXiv:2508.21172. With alpha = 1 - beta and a random O it is the
network of Ceni and Gallicchio, "Edge of Stability Echo State Network", 2023, arXiv:2308.02902.

    h_t = alpha O h_{t-1} + beta tanh(W_in x_t + b + W h_{t-1})
    y_t = h_t

O is, by `branch`: "orthogonal", Q of a random matrix; "cycle", which moves each unit to the next;
"skew", a quarter turn of each pair; "identity"; "entangled", (1 - 0.1) I + 0.1 / hidden, which is
not orthogonal. W, whose spectral radius is `radius`, W_in and b are drawn as in echo_state.py;
nothing is trained.

Family   reservoir
Forms    program; step
State    h, (batch, hidden)
Cost     O(time hidden (dim + hidden)) work, time steps one after another; O(hidden (dim + hidden))
         in `step`
Differs  One layer. Weights are normal before they are scaled. The published code's alpha = beta = 1
         lets h grow without a bound; here they add up to 1 by default.
See also echo_state.py, deep_echo_state.py
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from statewise.mixers.base import Cell
from statewise.mixers.parts.reservoir import reservoir, uniform

Branch = Literal["orthogonal", "cycle", "skew", "identity", "entangled"]


class ResidualEchoStateState(NamedTuple):
    """What a residual echo-state network remembers."""

    h: Float[Tensor, "batch hidden"]


class ResidualEchoState(Cell[ResidualEchoStateState]):
    """Reservoir with an orthogonal branch; it has no trainable parameters.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        branch: which O: "orthogonal", "cycle", "skew", "identity" or "entangled".
        alpha: factor of the branch.
        beta: factor of the reservoir.
        radius: spectral radius of W.
        density: the part of the units that each unit reads, at least one of them.
        input_scale: the largest weight of an input.
        bias_scale: the largest bias.
    """

    remembers = ResidualEchoStateState

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        *,
        branch: Branch = "orthogonal",
        alpha: float = 0.9,
        beta: float = 0.1,
        radius: float = 0.9,
        density: float = 1.0,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        self.alpha, self.beta = alpha, beta
        W = reservoir("residual_echo_state", self.hidden, radius=radius, density=density)
        # Both products with h are one.
        self.register_buffer("recurrent", torch.cat([W, _branch(branch, self.hidden)]))
        self.register_buffer("input", uniform(self.hidden, dim, scale=input_scale))
        self.register_buffer("bias", uniform(self.hidden, scale=bias_scale))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}

    def cell(
        self, x: Float[Tensor, "batch dim"], state: ResidualEchoStateState
    ) -> tuple[Float[Tensor, "batch hidden"], ResidualEchoStateState]:
        """Map one input."""
        read, passed = linear(state.h, self.get_buffer("recurrent")).chunk(2, -1)
        new = linear(x, self.get_buffer("input"), self.get_buffer("bias")) + read
        h = self.alpha * passed + self.beta * new.tanh()
        return h, ResidualEchoStateState(h)

    @classmethod
    def example(cls) -> "ResidualEchoState":
        """Return a small instance."""
        return cls(dim=4, hidden=6)


def _branch(branch: str, hidden: int) -> Float[Tensor, "hidden hidden"]:
    """Return O."""
    one = torch.eye(hidden)
    if branch == "orthogonal":
        return torch.linalg.qr(uniform(hidden, hidden, scale=1.0))[0]
    if branch == "cycle":
        return one.roll(1, 0)
    if branch == "skew" and hidden % 2 == 0:
        return torch.block_diag(*[torch.tensor([[0.0, 1.0], [-1.0, 0.0]])] * (hidden // 2))
    if branch == "entangled":
        return 0.9 * one + 0.1 / hidden
    if branch != "identity":
        raise ValueError(
            f"residual_echo_state: branch {branch!r} should be 'orthogonal', 'cycle', 'identity', "
            f"'entangled', or 'skew' where hidden = {hidden} is even"
        )
    return one
