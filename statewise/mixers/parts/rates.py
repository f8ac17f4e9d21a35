"""How rates of forgetting and step sizes start: no mixer itself."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def log_uniform(least: float, most: float, *shape: int) -> Float[Tensor, "*axes"]:
    """Return numbers from `least` to `most` whose logarithms are uniform: as many of each size.

    Step sizes start so in state-space models (Gu, Goel and Re, 2021, arXiv:2111.00396, appendix;
    Gu and Dao, 2023, arXiv:2312.00752, section 3.6), mostly from 0.001 to 0.1.
    """
    return torch.empty(shape).uniform_(math.log(least), math.log(most)).exp()


def inverse_softplus(y: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return x with softplus(x) = y, for y > 0; small y lose no digits."""
    return y + torch.log(-torch.expm1(-y))


def logit(p: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return x with sigmoid(x) = p, for p between 0 and 1."""
    return torch.log(p) - torch.log1p(-p)
