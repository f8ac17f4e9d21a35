"""The linear map that mixers are built from, with a choice of backend: no mixer itself."""

from jaxtyping import Float
from torch import Tensor, nn

from statewise.ops import linear


class Linear(nn.Linear):
    """`torch.nn.Linear` by `statewise.ops.linear`: the same parameters, start and answers."""

    def forward(self, input: Float[Tensor, "*axes inputs"]) -> Float[Tensor, "*axes outputs"]:
        """Return the map of each vector along the last axis."""
        return linear.linear(input, self.weight, self.bias)
