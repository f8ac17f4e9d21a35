"""Linear attention written as a gated recurrence, weight by weight.

    S_t = S_{t-1} + v_t k_t^T,  y_t = S_t q_t                linear attention, which keeps a matrix

    h_t = a * h_{t-1} + (W x_t + b) * (V x_t + c)            a gated recurrence, which keeps numbers
    y_t = R ((P h_t) * (Q h_t))

Of d (d + 1) numbers, d^2 never forget and sum up all v_i k_j; d forget at once and are q. Then P
reads each sum, Q the q_j that it is multiplied with, and R adds up what belongs to one y_i.

Zucchet et al., "Gated Recurrent Neural Networks Discover Attention", 2023, arXiv:2309.01775,
section 3.

And where it divides by the sum of its weights, as a recurrence that decays and does not divide:

    n_t = sum over s <= t of q_t . k_s
    S_t = n_{t-1} / n_t S_{t-1} + k_t v_t^T / n_t,  y_t = S_t^T q_t

so that 1 / n_t is what a step size is in S6, whose decay would be exp(A / n_t). Sieber et al.,
"Understanding the differences in Foundation Models: Attention, State Space Models, and Recurrent
Neural Networks", 2024, arXiv:2405.15731, section 4.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.ops.linear_attention import linear_attention
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


class Division(NamedTuple):
    """The division by the sum of weights, as a recurrence has it."""

    step: Float[Tensor, "batch time 1"]
    """1 / n_t: how much of an input is taken."""
    log_decay: Float[Tensor, "batch time 1"]
    """log(n_{t-1} / n_t): what is kept; above 0 where a query meets less than the one before."""


def division(
    query: Float[Tensor, "batch time key"], key: Float[Tensor, "batch time key"]
) -> Division:
    """Return the step and the decay that stand for the sum of weights.

    Args:
        query: features of queries, positive.
        key: features of keys, positive.
    """
    total = (query * key.cumsum(1)).sum(-1, keepdim=True)
    before = torch.cat([total[:, :1], total[:, :-1]], 1)
    return Division(1 / total, (before / total).log())


def undivided(
    query: Float[Tensor, "batch time key"],
    key: Float[Tensor, "batch time key"],
    value: Float[Tensor, "batch time value"],
) -> Float[Tensor, "batch time value"]:
    """Return linear attention divided by the sum of its weights, by the recurrence that decays.

    Args:
        query: features of queries, positive.
        key: features of keys, positive.
        value: what is averaged.
    """
    step, log_decay = division(query, key)
    heads = (part[:, :, None] for part in (query, key, step * value))
    return linear_attention(*heads, log_decay=log_decay)[0][:, :, 0]
