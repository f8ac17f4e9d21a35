"""Products with matrices as the hub's library calls them, by `torch.nn.Linear`.

They are most of what is left of a step once its recurrences are fast: of Qwen3-Next's 71 percent.
"""

from jaxtyping import Float
from torch import Tensor, nn

from statewise.ops.linear import linear, outpaced, outpaced_by_few

WHAT = "linear"
"""What computes a replaced map, in words."""


def faster(module: nn.Module) -> bool:
    """Return whether a module is a linear map, and our op multiplies faster here than torch."""
    return type(module) is nn.Linear and (outpaced() or outpaced_by_few())


def forward(self: nn.Linear, input: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outs"]:
    """Return the map of each vector along the last axis."""
    return linear(input, self.weight, self.bias)
