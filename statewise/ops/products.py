"""Products of large matrices by the core, into memory that is there."""

from functools import partial

from torch import Tensor, empty, uint8

from statewise import backends
from statewise.ops.custom import core


class Products:
    """Matrix products by the core, with the memory that they need for themselves.

    Args:
        like: a tensor in the dtype of all matrices, float32 or float64.
    """

    def __init__(self, like: Tensor):
        self.bytes, self.workspace = like.element_size(), empty(0, dtype=uint8)

    def multiply(
        self, a: Tensor, b: Tensor, to: Tensor, *, bias: Tensor | None = None, add: bool = False
    ) -> Tensor:
        """Write a b and the bias, or add a b, to a matrix; return that."""
        size = core().multiply_workspace(b.shape[1], b.shape[0], self.bytes)
        if len(self.workspace) < size:
            self.workspace = empty(size, dtype=uint8)
        bias = None if bias is None else bias.contiguous()
        backends.run(partial(core().multiply, add), a, b, bias, to, self.workspace)
        return to
