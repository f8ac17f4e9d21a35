"""What FastRNN and FastGRNN share: their matrices, which may be products of two thin ones.

No mixer itself.
"""

from collections.abc import Mapping

from torch import nn

from statewise.mixers.base import Cell, State


class Fast(Cell[State]):
    """A cell with W and U, each normal with deviation 0.1 at the start, or two such factors.

    Args:
        mixer: its name, for errors.
        dim: features read.
        hidden: features remembered and answered; `dim` if absent.
        input_rank: of W; full if absent.
        recurrent_rank: of U; full if absent.
    """

    def __init__(
        self,
        mixer: str,
        dim: int,
        hidden: int | None,
        input_rank: int | None,
        recurrent_rank: int | None,
    ):
        super().__init__()
        self.dim = dim
        self.out = self.hidden = dim if hidden is None else hidden
        for name, rank in (("input_rank", input_rank), ("recurrent_rank", recurrent_rank)):
            if rank is not None and rank < 1:
                raise ValueError(f"{mixer}: {name} = {rank} should be at least 1")
        self.input = _matrix(dim, self.hidden, input_rank)
        self.recurrent = _matrix(self.hidden, self.hidden, recurrent_rank)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.1)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of h."""
        return {"h": (self.hidden,)}


def _matrix(read: int, made: int, rank: int | None) -> nn.Module:
    if rank is None:
        return nn.Linear(read, made, bias=False)
    return nn.Sequential(nn.Linear(read, rank, bias=False), nn.Linear(rank, made, bias=False))
