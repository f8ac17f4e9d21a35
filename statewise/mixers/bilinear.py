r"""Bilinear recurrence: the state times a matrix that is linear in the input, and nothing added.

Ebrahimi and Memisevic, "Revisiting Bi-Linear State Transitions in Recurrent Neural Networks", 2025,
arXiv:2505.21749.

    A_t[i, j] = sum_k W[i, j, k] x_t[k]                     of each block
    A_t = U diag(V x_t) Z^T                                 with a `rank`: W is factored
    h_t = A_t h_{t-1}
    y_t = h_t / root mean square of h_t                     of each block

What is answered does not depend on the scale of h or A. So A_t is divided by its root mean square
singular value, and h, where it is kept, by a power of two: neither overflows nor vanishes.

Family   linear diagonal
Forms    scan of matrices, 32 inputs at a time; step
State    h, (batch, hidden / block, block), hidden numbers, the largest of a block about one
Cost     O(time hidden block (dim + block)) work in `forward`; O(hidden block dim) in `step`
Differs  h_0 is learned, and W and it are normal at the start; where the paper normalizes, and how
         it starts, is not known to us. One block is its full form; blocks of one number, which
         would have only a sign, are refused.
See also rotation.py, block_diagonal.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.started import Started

_PIECE = 32
"""Inputs between two rescalings: a norm grows by at most sqrt(block) at each, far below 1e38."""


class BilinearState(NamedTuple):
    """What a bilinear recurrence remembers."""

    h: Float[Tensor, "batch blocks block"]


class Bilinear(Started[BilinearState]):
    """Bilinear recurrence.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        block: features of each block, at least 2; `hidden` is the full form.
        rank: terms of the factored form of each block; none is absent.
    """

    remembers = BilinearState

    # A product of many matrices passes places where it nearly annihilates the state, and what is
    # left there is rounding: at one time in 25, of 1,000, every form in float32 is further than
    # 3e-6 from float64, at the worst 4e-3, with the median at 3e-7.
    longest_agreement = 100

    def __init__(
        self, dim: int, *, hidden: int | None = None, block: int = 4, rank: int | None = None
    ):
        super().__init__("bilinear", dim, hidden, block)
        self.rank, blocks = rank, len(self.start)
        self.weight = nn.Parameter(torch.randn(blocks, rank or block * block, dim) * dim**-0.5)
        self.factors = nn.Parameter(torch.randn(2, blocks, block, rank)) if rank else None

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: BilinearState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], BilinearState]:
        """Map a whole sequence, a piece after another."""
        ys = []
        for start in range(0, max(x.shape[1], 1), _PIECE):
            piece = slice(start, start + _PIECE)
            y, state = super().forward(
                x[:, piece],
                state,
                reset=None if reset is None else reset[:, piece],
                lengths=None if lengths is None else (lengths - start).clamp(0, _PIECE),
            )
            ys.append(y)
        assert state is not None
        return torch.cat(ys, 1), state

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: BilinearState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], BilinearState]:
        """Map inputs, few enough that h neither overflows nor vanishes."""
        block, wide = self.start.shape[1], state_dtype(x.dtype)
        A = torch.einsum("...k,nrk->...nr", x, self.weight).to(wide)
        if self.factors is None:
            A = A.unflatten(-1, (block, block))
        else:
            U, Z = self.factors.to(wide)
            A = torch.einsum("nir,...nr,njr->...nij", U, A, Z)
        A = A * (A.square().sum((-2, -1), keepdim=True) / block + 1e-24).rsqrt()
        h, last = self.scanned(A, None, state, run)
        h = _rescaled(h)
        y = h * (h.square().mean(-1, keepdim=True) + 1e-24).rsqrt()
        return y.flatten(-2).to(x.dtype), BilinearState(_rescaled(last))

    @classmethod
    def example(cls) -> "Bilinear":
        """Return a small instance."""
        return cls(dim=4, hidden=6, block=3)


def _rescaled(h: Float[Tensor, "*axes block"]) -> Float[Tensor, "*axes block"]:
    """Return h divided by the power of two that is nearest to its largest number.

    Every h that differs by such a power gives the same, so that forms agree wherever they rescale,
    and what was rescaled stays as it is.
    """
    largest = h.detach().abs().amax(-1, keepdim=True)
    # The derivative by the power is left out: it is zero but for jumps.
    return h * torch.where(largest > 0, largest.log2().round().neg().exp2(), 1)
