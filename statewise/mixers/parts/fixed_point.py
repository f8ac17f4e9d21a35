"""Fixed points of contractions, for mixers that iterate over whole sequences: no mixer itself."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from statewise import backends

Rest = TypeVar("Rest")


class Solver(NamedTuple):
    """How a fixed point is found: z = f(z), from f(z) again and again.

    The iteration stops where no number moves by more than `tolerance` times the largest of its row.
    A graph of torch.compile, and vmap, cannot ask; they take all iterations.
    """

    contraction: float
    """What f multiplies distances by at most, in the largest absolute value; below 1."""

    tolerance: float | None = None
    """Ten times the precision of the numbers if absent."""

    most: int | None = None
    """Iterations at most; if absent, as many as the contraction needs for the tolerance."""

    recorded: int | None = None
    """The gradient goes through this many more iterations at the end, an approximation; if absent,
    through all, and is exact to the tolerance."""

    def iterations(self, dtype: torch.dtype, times: int = 1) -> int:
        """Return how many iterations there are at most in a precision, one time after another."""
        if self.most is not None:
            return self.most
        return times * math.ceil(math.log(self._tolerance(dtype)) / math.log(self.contraction))

    def __call__(
        self, f: Callable[[Tensor], tuple[Tensor, Rest]], z: Tensor, *, times: int = 1
    ) -> tuple[Tensor, Rest]:
        """Return the fixed point of f's first answer, from z on, and what f returns beside it.

        Args:
            f: what is iterated.
            z: where it starts.
            times: how many parts of z settle only one after another.
        """
        if self.recorded is None:
            return self._iterated(f, z, times)
        with torch.no_grad():
            z, rest = self._iterated(f, z, times)
        for _ in range(self.recorded):
            z, rest = f(z)
        return z, rest

    def _tolerance(self, dtype: torch.dtype) -> float:
        return 10 * torch.finfo(dtype).eps if self.tolerance is None else self.tolerance

    def _iterated(
        self, f: Callable[[Tensor], tuple[Tensor, Rest]], z: Tensor, times: int
    ) -> tuple[Tensor, Rest]:
        may_ask = not (torch.compiler.is_compiling() or backends.transformed())
        before, (z, rest) = z, f(z)
        for _ in range(self.iterations(z.dtype, times) - 1):
            # Written so that a row of NaN counts as settled.
            if may_ask and not _moved(before, z, self._tolerance(z.dtype)):
                break
            before, (z, rest) = z, f(z)
        return z, rest


def _moved(before: Tensor, z: Tensor, tolerance: float) -> bool:
    with torch.no_grad():
        rows = z.flatten(1).abs()
        if rows.numel() == 0:
            return False
        bound = tolerance * rows.amax(1, keepdim=True)
        return bool(((z - before).flatten(1).abs() > bound).any())
