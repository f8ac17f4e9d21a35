r"""URN: every input is an orthogonal matrix that turns the state, and nothing else happens.

Bernardy and Lappin, "Assessing the Unitary RNN as an End-to-End Compositional Model of Syntax",
2022, arXiv:2208.05719.

    A_t = S_t - S_t^T                          S_t above the diagonal: `entries` of W x_t, by rows
    h_t = exp(A_t) h_{t-1}
    y_t = h_t

The length of h never changes, so no state saturates, vanishes or explodes, and a sequence is the
product of its matrices. With fewer `entries` than there are above the diagonal only the first rows
of S_t are filled: rotations of few dimensions, the paper's "truncated" embeddings.

Family   linear diagonal
Forms    scan of matrices; step
State    h, (batch, hidden / block, block), hidden numbers
Cost     O(time hidden (dim block + block^2)) work in `forward`; O(hidden (dim block + block^2)) in
         `step`
Differs  The paper's x_t are embeddings of words, with W the identity. h_0 is learned, and normal at
         the start, as is W with deviation 1 / sqrt(dim); the paper's are not known to us. Blocks
         smaller than `hidden`, each turned by itself, are ours.
See also rotation.py, bilinear.py, exp_rnn.py
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.recurrent import Run
from statewise.mixers.parts.started import Started
from statewise.ops.linear import linear


class URNState(NamedTuple):
    """What a unitary recurrent network remembers."""

    h: Float[Tensor, "batch blocks block"]


class URN(Started[URNState]):
    """Unitary recurrent network, of real numbers.

    Args:
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        block: features that are turned together; all if absent.
        entries: of each skew-symmetric matrix that the input fills; all if absent.
    """

    remembers = URNState

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        block: int | None = None,
        entries: int | None = None,
    ):
        block = block or hidden or dim
        super().__init__("urn", dim, hidden, block)
        most = block * (block - 1) // 2
        entries = most if entries is None else entries
        if not 1 <= entries <= most:
            raise ValueError(f"urn: entries = {entries} should be from 1 to {most}")
        self.weight = nn.Parameter(torch.randn(len(self.start) * entries, dim) * dim**-0.5)
        rows, columns = torch.triu_indices(block, block, 1)[:, :entries]
        # Where in (W x_t, 0) each number of A_t stands, and with which sign.
        place = torch.full((block, block), entries)
        place[rows, columns] = place[columns, rows] = torch.arange(entries)
        self.register_buffer("place", place.flatten(), persistent=False)
        self.register_buffer("sign", torch.ones(block, block).tril().mul(-2) + 1, persistent=False)

    def mix(
        self, x: Float[Tensor, "batch *time dim"], state: URNState, run: Run
    ) -> tuple[Float[Tensor, "batch *time out"], URNState]:
        """Map inputs."""
        wide = state_dtype(x.dtype)
        entries = linear(x.to(wide), self.weight.to(wide)).unflatten(-1, (len(self.start), -1))
        entries = torch.cat([entries, torch.zeros_like(entries[..., :1])], -1)
        block = self.start.shape[1]
        A = entries[..., self.get_buffer("place")].unflatten(-1, (block, block))
        turn = torch.linalg.matrix_exp(A * self.get_buffer("sign").to(wide))
        h, last = self.scanned(turn, None, state, run)
        return h.flatten(-2).to(x.dtype), URNState(last)

    @classmethod
    def example(cls) -> "URN":
        """Return a small instance."""
        return cls(dim=4, hidden=6, block=3)
