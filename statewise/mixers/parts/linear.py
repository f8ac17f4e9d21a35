"""The linear maps that mixers are built from, with a choice of backend: no mixers themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.nn.functional import embedding

from statewise.ops import linear
from statewise.ops.custom import in_large_pages
from statewise.ops.int8_linear import int8_linear

_unstarted: ContextVar[bool] = ContextVar("_unstarted", default=False)


@contextmanager
def unstarted() -> Iterator[None]:
    """Leave weights of linear maps and embeddings as memory has them: a file brings them.

    Pages that nobody wrote to take no memory, and random numbers are the most of a model's start.
    """
    token = _unstarted.set(True)
    try:
        yield
    finally:
        _unstarted.reset(token)


class Linear(nn.Linear):
    """`torch.nn.Linear` by `statewise.ops.linear`: the same parameters, start and answers."""

    def reset_parameters(self) -> None:
        """Start as `torch.nn.Linear` does."""
        if not _unstarted.get():
            super().reset_parameters()

    def forward(self, input: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return the map of each vector along the last axis."""
        return linear.linear(input, self.weight, self.bias)


class Embedding(nn.Embedding):
    """`torch.nn.Embedding`, which can also be read out: the head that shares its weights.

    Args:
        vocab: how many vectors.
        dim: numbers of each.
        spread: their standard deviation at the start.
    """

    def __init__(self, vocab: int, dim: int, *, spread: float):
        self.spread = spread
        super().__init__(vocab, dim)

    def reset_parameters(self) -> None:
        """Draw the vectors: twice, so that seeds go on meaning what they meant."""
        if not _unstarted.get():
            super().reset_parameters()
            nn.init.normal_(self.weight, std=self.spread)

    def scores(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes vocab"]:
        """Return the product of features with every vector."""
        return linear.linear(features, self.weight)


class _Int8(nn.Module):
    """A matrix in steps of a scale for each of its rows; it is not trained.

    Args:
        matrix: what is rounded; within `unstarted` nothing is.

    Raises:
        ValueError: if a number of the matrix is not finite.
    """

    numbers: Int8[Tensor, "rows columns"]
    scale: Float[Tensor, " rows"]

    def __init__(self, matrix: Float[Tensor, "rows columns"]):
        super().__init__()
        numbers = torch.empty(matrix.shape, dtype=torch.int8, device=matrix.device)
        if matrix.is_cpu:
            in_large_pages(numbers)  # 33 GB/s were read from these, and 17 to 25 from small ones
        scale = torch.empty(len(matrix), device=matrix.device)
        if not _unstarted.get():
            _round(matrix, numbers, scale)
        self.register_buffer("numbers", numbers)
        self.register_buffer("scale", scale)
        self.eval()

    def train(self, mode: bool = True) -> "_Int8":
        """Refuse training.

        Raises:
            RuntimeError: if `mode` is true.
        """
        return _refuse() if mode else super().train(mode)

    @property
    def weight(self) -> Float[Tensor, "rows columns"]:
        """What the numbers stand for, computed anew at every reading."""
        return self.numbers * self.scale[:, None]


def _refuse() -> NoReturn:
    raise RuntimeError(
        "weights of eight bits are not trained: train the model they were rounded from"
    )


_ROWS = 4096
"""Rows that are rounded at once, so that little memory is needed beside the matrix."""


def _round(matrix: Tensor, numbers: Tensor, scale: Tensor) -> None:
    with torch.no_grad():
        for begin in range(0, len(matrix), _ROWS):
            some = matrix[begin : begin + _ROWS].float()
            largest = some.abs().amax(1) if some.shape[1] else some.new_zeros(len(some))
            if not largest.isfinite().all():
                raise ValueError(f"a weight {tuple(matrix.shape)} holds what is not finite")
            # Without numbers beside zero any step will do.
            step = torch.where(largest > 0, largest / 127, 1)
            # A step too small to be a normal number would not reach the largest in 127.
            rounded = (some / step[:, None]).round_().clamp_(-127, 127)
            numbers[begin : begin + _ROWS] = rounded.to(torch.int8)
            scale[begin : begin + _ROWS] = step


class Int8Linear(_Int8):
    """A linear map of weights in eight bits, by `statewise.ops.int8_linear`.

    Args:
        of: the map whose weights are rounded.

    Raises:
        ValueError: if a weight is not finite.
    """

    def __init__(self, of: nn.Linear):
        super().__init__(of.weight)
        self.in_features, self.out_features = of.in_features, of.out_features
        bias = None if of.bias is None else of.bias.detach().to(torch.float32, copy=True)
        self.bias: Tensor | None
        self.register_buffer("bias", bias)

    def forward(self, input: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return the map of each vector along the last axis."""
        return int8_linear(input, self.numbers, self.scale, self.bias)


class Int8Embedding(_Int8):
    """An embedding of vectors in eight bits, which can also be read out.

    Args:
        of: the embedding whose vectors are rounded.

    Raises:
        ValueError: if a number is not finite.
    """

    def __init__(self, of: nn.Embedding):
        super().__init__(of.weight)

    def forward(self, tokens: Tensor) -> Float[Tensor, "*axes dim"]:
        """Return the vector of each token."""
        return embedding(tokens, self.numbers) * embedding(tokens, self.scale[:, None])

    def scores(self, features: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes vocab"]:
        """Return the product of features with every vector."""
        return int8_linear(features, self.numbers, self.scale)


def stored(map: nn.Module | None) -> tuple[Tensor | None, Tensor | None] | None:
    """Return the matrix of a linear map, and its scale if it has eight bits.

    None where calling the map is more than that: another kind, a bias, or a hook that waits for it.
    """
    if map is None or map._forward_hooks or map._forward_pre_hooks:
        return None
    if type(map) is Linear:
        weights = map._parameters
        return None if weights["bias"] is not None else (weights["weight"], None)
    if type(map) is Int8Linear:
        numbers = map._buffers
        return None if numbers["bias"] is not None else (numbers["numbers"], numbers["scale"])
    return None
