"""Products with matrices as the hub's library calls them, by `torch.nn.Linear`.

They are most of what is left of a step once its recurrences are fast: of Qwen3-Next's 71 percent.
"""

from collections.abc import Sequence
from types import MethodType

from jaxtyping import Float
from torch import Tensor, nn

from statewise.ops.linear import linear, outpaced, outpaced_by_few

WHAT = "linear"
"""What computes a replaced map, in words."""


def replaced(model: nn.Module) -> Sequence[nn.Module]:
    """Let our op multiply for every linear map of a model, where it is faster; return those maps.

    A map of another class, or whose forward somebody has replaced, is left alone.
    """
    if not (outpaced() or outpaced_by_few()):
        return []
    maps = [m for m in model.modules() if type(m) is nn.Linear and "forward" not in vars(m)]
    for map in maps:
        map.forward = MethodType(forward, map)
    return maps


def forward(self: nn.Linear, input: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outs"]:
    """Return the map of each vector along the last axis."""
    return linear(input, self.weight, self.bias)
