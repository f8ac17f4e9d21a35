r"""Block-diagonal recurrence: the input chooses a small matrix for each block of the state.

Fan, Chi and Rudnicky, "Advancing Regular Language Reasoning in Linear Recurrent Neural Networks",
2023, arXiv:2309.07412, section 3.

    B_t = W_2 relu(W_1 x_t + b_1) + b_2            a square for each block
    C_t = B_t - the mean over its rows             of each column
    A_t = C_t / max over columns of (sum over rows of |C_t| ** power) ** (1 / power)
    v_t = W_4 relu(W_3 x_t + b_3) + b_4
    h_t = A_t h_{t-1} + v_t                        h_0 is learned, normal at the start
    y_t = h_t

Family   linear diagonal
Forms    scan of matrices; step
State    h, (batch, hidden / block, block), hidden numbers
Cost     O(time hidden block (hidden block + dim)) work in `forward`; O(hidden block (hidden block +
         dim)) in `step`
Differs  The mean is taken away as in the authors' program; their power of 1.2 lets a state grow,
         by up to block ** (1 / 6) at each input; with 1 it does not.
See also bilinear.py, rotation.py
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.started import Started


class BlockDiagonalState(NamedTuple):
    """What a block-diagonal recurrence remembers."""

    h: Float[Tensor, "batch blocks block"]


class BlockDiagonal(Started[BlockDiagonalState]):
    """Recurrence of blocks that the input chooses.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        block: features of each block, at least 2.
        power: of the norm that the largest column of a block has equal to one.
    """

    remembers = BlockDiagonalState

    def __init__(self, dim: int, *, hidden: int | None = None, block: int = 2, power: float = 1.2):
        super().__init__("block_diagonal", dim, hidden, block)
        if power < 1:
            raise ValueError(f"block_diagonal: power = {power} should be at least 1")
        self.power = power
        hidden, entries = self.out, self.out * block
        self.transition = nn.Sequential(Linear(dim, entries), nn.ReLU(), Linear(entries, entries))
        self.drive = nn.Sequential(Linear(dim, hidden), nn.ReLU(), Linear(hidden, hidden))

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: BlockDiagonalState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], BlockDiagonalState]:
        """Map inputs."""
        blocks, block = self.start.shape
        B = self.transition(x).to(state_dtype(x.dtype)).unflatten(-1, (blocks, block, block))
        C = B - B.mean(-2, keepdim=True)
        columns = C.abs().pow(self.power).sum(-2).amax(-1).clamp(1e-20)
        A = C / columns.pow(1 / self.power)[..., None, None]
        drive = self.drive(x).unflatten(-1, (blocks, block))
        h, last = self.scanned(A, drive, state, run)
        return h.flatten(-2).to(x.dtype), BlockDiagonalState(last)

    @classmethod
    def example(cls) -> "BlockDiagonal":
        """Return a small instance."""
        return cls(dim=4, hidden=6, block=3)
