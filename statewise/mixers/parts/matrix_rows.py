"""A nonlinear recurrence of matrices whose rows go their own ways: no mixer itself."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.mixers.base import Cell


class MatrixRowsState(NamedTuple):
    """One row of every head's matrix, side by side."""

    S: Float[Tensor, "rows heads_value"]


class MatrixRows(Cell[MatrixRowsState]):
    """One row of  S_t = f_t S_{t-1} + (1 - f_t) tanh(S_{t-1} W + k_t v_t^T)  for each head.

    It reads the row's number in k_t, then v_t and f_t of every head. `matrix_rows` runs it on all
    rows at once, as rows of the batch. W starts at the identity.

    Args:
        heads: how many.
        value: features of a row of each.
    """

    remembers = MatrixRowsState

    def __init__(self, heads: int, value: int):
        super().__init__()
        self.heads, self.value = heads, value
        self.out = heads * value
        self.dim = 1 + self.out + heads
        self.weight = nn.Parameter(torch.eye(value).repeat(heads, 1, 1))

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return that of the row."""
        return {"S": (self.out,)}

    def cell(
        self, x: Float[Tensor, "rows dim"], state: MatrixRowsState
    ) -> tuple[Float[Tensor, "rows out"], MatrixRowsState]:
        """Map one input."""
        k, v, f = x.split([1, self.out, self.heads], -1)
        f = f[..., None].expand(-1, -1, self.value).flatten(1)
        parts = zip(state.S.chunk(self.heads, -1), self.weight.unbind(), strict=True)
        new = (torch.cat([S @ W for S, W in parts], -1) + k * v).tanh()
        S = f * state.S + (1 - f) * new
        return S, MatrixRowsState(S)

    @classmethod
    def example(cls) -> "MatrixRows":
        """Return a small instance."""
        return cls(heads=2, value=3)


def matrix_rows(
    cell: MatrixRows,
    q: Float[Tensor, "batch time key"],
    k: Float[Tensor, "batch time key"],
    v: Float[Tensor, "batch time heads value"],
    f: Float[Tensor, "batch time heads"],
    *,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return S_t^T q_t of every head at every time, and the last S, a fresh tensor.

    It is called as an op is, `run(matrix_rows, cell, q, k, v, f, initial=state.S)`.
    """
    key = k.shape[-1]
    S, after = cell(
        _rows(k.transpose(1, 2), v, f),
        MatrixRowsState(_folded(initial)),
        reset=None if reset is None else reset.repeat_interleave(key, 0),
        lengths=None if lengths is None else lengths.repeat_interleave(key, 0),
    )
    every = S.unflatten(0, (-1, key)).unflatten(-1, v.shape[2:])
    return torch.einsum("bkthv,btk->bthv", every, q.to(S.dtype)), _unfolded(after.S, initial)


def matrix_rows_step(
    cell: MatrixRows,
    q: Float[Tensor, "batch key"],
    k: Float[Tensor, "batch key"],
    v: Float[Tensor, "batch heads value"],
    f: Float[Tensor, "batch heads"],
    initial: Float[Tensor, "batch heads key value"],
) -> tuple[Float[Tensor, "batch heads value"], Float[Tensor, "batch heads key value"]]:
    """Return S^T q and S: one time of `matrix_rows`."""
    S, after = cell.step(_rows(k, v, f), MatrixRowsState(_folded(initial)))
    every = S.reshape(*k.shape, *v.shape[1:])
    return torch.einsum("bkhv,bk->bhv", every, q.to(S.dtype)), _unfolded(after.S, initial)


def _rows(
    k: Float[Tensor, "batch key *time"],
    v: Float[Tensor, "batch *time heads value"],
    f: Float[Tensor, "batch *time heads"],
) -> Float[Tensor, "rows *time features"]:
    """Return what every row of the matrices reads: (batch key, time, 1 + heads value + heads)."""
    shared = torch.cat([v.flatten(-2).to(f.dtype), f], -1)[:, None]
    shared = shared.expand(-1, k.shape[1], *shared.shape[2:])
    return torch.cat([k[..., None].to(f.dtype), shared], -1).flatten(0, 1)


def _folded(S: Float[Tensor, "batch heads key value"]) -> Float[Tensor, "rows heads_value"]:
    return S.transpose(1, 2).flatten(2).flatten(0, 1)


def _unfolded(
    S: Float[Tensor, "rows heads_value"], like: Float[Tensor, "batch heads key value"]
) -> Float[Tensor, "batch heads key value"]:
    _, heads, key, value = like.shape
    return S.reshape(-1, key, heads, value).transpose(1, 2).contiguous()
