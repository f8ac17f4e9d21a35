r"""LSSL: each feature is remembered by HiPPO in steps of its own, and convolved with what it keeps.

Gu et al., "Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-Space
Layers", 2021, arXiv:2110.13985, sections 3 and 4 and appendix B.

    A = diag(left) (diag(middle) + T^-1) diag(right)     T with three diagonals; shared
    A' = (1 - alpha step A)^-1 (1 + (1 - alpha) step A)  generalized bilinear rule, by `step`
    B' = (1 - alpha step A)^-1 step B                    of each feature
    h_t = A' h_{t-1} + B' x_t
    s_t = C h_t + skip * x_t
    y_t = W gelu(s_t) + b

At first A and B are HiPPO-LegS, of which this is the exact form.

Family   linear diagonal
Forms    convolution; scan; step
State    h, (batch, dim, state), dim * state numbers
Cost     O(time dim (log time + dim + state) + dim state^3 log time) work in `forward`;
         O(dim (state^3 + dim)) in `step`, most of it for A'
Differs  One answer of each feature (the paper's M = 1). Nothing keeps a trained A stable.
See also s4.py, lmu.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.parts.hippo import generalized_bilinear, legs
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.state_space import StateSpace
from statewise.ops.convolution import dense_convolution


class LSSLState(NamedTuple):
    """What the linear state-space layer remembers."""

    h: Float[Tensor, "batch dim state"]


class LSSL(StateSpace[LSSLState]):
    """Linear state-space layer.

    Args:
        dim: features read and answered.
        state: numbers remembered of each feature.
        alpha: weight of the end of each step: 0 is Euler's rule, 1/2 the bilinear, 1 the backward.
        fixed: whether A, B and the steps stay as they begin, the paper's LSSL-f.
        steps: the least and the largest step of time; features begin with any between.
    """

    remembers = LSSLState
    complex_leaves = ()
    op = staticmethod(dense_convolution)

    def __init__(
        self,
        dim: int,
        *,
        state: int = 64,
        alpha: float = 0.5,
        fixed: bool = False,
        steps: tuple[float, float] = (0.001, 0.1),
    ):
        if state < 2:
            raise ValueError(f"lssl: state = {state} should be at least 2")
        if not 0 <= alpha <= 1:
            raise ValueError(f"lssl: alpha = {alpha} should be from 0 to 1")
        super().__init__(dim, state, steps)
        self.alpha = alpha
        # Ones on and below the diagonal are the inverse of a matrix of two diagonals.
        root = legs(state).B.float()
        count = torch.arange(state)
        self.left, self.right = nn.Parameter(-root), nn.Parameter(root.clone())
        self.middle = nn.Parameter(-count / (2 * count + 1))
        self.main = nn.Parameter(torch.ones(state))
        self.below = nn.Parameter(-torch.ones(state - 1))
        self.above = nn.Parameter(torch.zeros(state - 1))
        self.B = nn.Parameter(root.clone())
        self.C = nn.Parameter(torch.randn(dim, state))
        learned = (self.left, self.right, self.middle, self.main, self.below, self.above)
        for parameter in (*learned, self.B, self.log_step):
            parameter.requires_grad_(not fixed)
        self.output = nn.Sequential(nn.GELU(), Linear(dim, dim))

    def transition(self, dtype: torch.dtype) -> Float[Tensor, "state state"]:
        """Return A."""
        main, below, above = (part.to(dtype) for part in (self.main, self.below, self.above))
        tridiagonal = main.diag() + below.diag(-1) + above.diag(1)
        left, right = self.left.to(dtype), self.right.to(dtype)
        inner = torch.linalg.inv(tridiagonal) + self.middle.to(dtype).diag()
        return left[:, None] * inner * right

    def system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return A', B' and C of every feature."""
        A, B, C = self.transition(dtype), self.B.to(dtype), self.C.to(dtype)
        return (*generalized_bilinear(A, B, self.log_step.to(dtype).exp(), self.alpha), C)

    @classmethod
    def example(cls) -> "LSSL":
        """Return a small instance."""
        return cls(dim=4, state=5)
