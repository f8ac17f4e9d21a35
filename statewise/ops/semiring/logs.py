"""Sums of logarithms whose derivatives of every order are finite where a term is log 0."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def logaddexp(a: Tensor, b: Tensor) -> Tensor:
    """Return log(exp(a) + exp(b)); at a = b = -inf the gradients are zero, where torch has NaN."""
    high, low = torch.where(a >= b, a, b), torch.where(a >= b, b, a)
    nothing = high == -math.inf
    high, low = torch.where(nothing, 0, high), torch.where(nothing, 0, low)
    return torch.where(nothing, -math.inf, high - logsigmoid(high - low))


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """Return log of the sum of exp(x) along one axis; of nothing but -inf it is -inf."""
    # Any shift gives the same sum, so none of the derivatives need its own.
    shift = x.detach().amax(dim, keepdim=True)
    shift = torch.where(shift == -math.inf, 0, shift)
    total = (x - shift).exp().sum(dim)
    nothing = total == 0
    safe = torch.where(nothing, 1, total).log() + shift.squeeze(dim)
    return torch.where(nothing, -math.inf, safe)
