"""Linear attention written as a gated recurrence, weight by weight.

    S_t = S_{t-1} + v_t k_t^T,  y_t = S_t q_t                linear attention, which keeps a matrix

    h_t = a * h_{t-1} + (W x_t + b) * (V x_t + c)            a gated recurrence, which keeps numbers
    y_t = R ((P h_t) * (Q h_t))

Of d (d + 1) numbers, d^2 never forget and sum up all v_i k_j; d forget at once and are q. Then P
reads each sum, Q the q_j that it is multiplied with, and R adds up what belongs to one y_i.

Zucchet et al., "Gated Recurrent Neural Networks Discover Attention", 2023, arXiv:2309.01775,
section 3.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.ops.scan import scan

KEPT = 40.0
"""A logit whose sigmoid is 1 in float64 too, and less than 1e-17 for the opposite."""


class GatedRecurrence(nn.Module):
    """A diagonal recurrence between products.

    Args:
        dim: features read.
        units: numbers kept.
        out: features answered.
    """

    def __init__(self, dim: int, units: int, out: int):
        super().__init__()
        self.write, self.gate = nn.Linear(dim, units), nn.Linear(dim, units)
        self.keep = nn.Parameter(torch.linspace(-4, 6, units))
        self.left, self.right = (nn.Linear(units, units, bias=False) for _ in range(2))
        self.read = nn.Linear(units, out, bias=False)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time out"]:
        """Map sequences, each from an empty memory."""
        drive = self.write(x) * self.gate(x)
        h, _ = scan(self.keep.sigmoid().expand_as(drive), drive)
        return self.read(self.left(h) * self.right(h))


@torch.no_grad()
def as_recurrence(
    query: Float[Tensor, "key dim"], key: Float[Tensor, "key dim"], value: Float[Tensor, "out dim"]
) -> GatedRecurrence:
    """Return the gated recurrence that is linear attention with one head and no features or norm.

    Args:
        query: maps inputs to queries.
        key: to keys.
        value: to values.
    """
    (keys, dim), out = key.shape, len(value)
    sums = torch.arange(keys * out)
    i, j = sums // keys, sums % keys
    model = GatedRecurrence(dim, len(sums) + keys, out).to(query.dtype)
    for parameter in model.parameters():
        parameter.zero_()
    model.write.weight.copy_(torch.cat([value[i], query]))
    model.gate.weight[: len(sums)] = key[j]
    model.gate.bias[len(sums) :] = 1
    model.keep[: len(sums)], model.keep[len(sums) :] = KEPT, -KEPT
    model.left.weight[sums, sums] = 1
    model.right.weight[sums, len(sums) + j] = 1
    model.read.weight[i, sums] = 1
    return model
