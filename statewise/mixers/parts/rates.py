"""How rates of forgetting and step sizes start, and what they come from: no mixer itself."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, is_grad_enabled

from statewise import backends


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


class FallingRates:
    """-exp(x), for weights x that seldom change: while nothing is recorded it is computed once.

    Of 24,576 numbers that took 70 microseconds at every step, a third of what a layer of Mamba
    with 768 features needs for all else than its matrices; to see that they are the same takes 5.
    """

    def __init__(self) -> None:
        self._kept: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, log_rate: Float[Tensor, "*axes"], dtype: torch.dtype
    ) -> Float[Tensor, "*axes"]:
        """Return -exp(log_rate) in a dtype; nobody may write into it."""
        recorded = is_grad_enabled() and log_rate.requires_grad
        if recorded or not backends.plain((log_rate,)) or not log_rate.is_cpu:
            return -log_rate.to(dtype).exp()
        if self._kept is not None:
            seen, rates = self._kept
            same = seen.dtype == log_rate.dtype and rates.dtype == dtype
            # A look at the numbers: no count of changes sees all ways to write into a weight.
            if same and torch.equal(seen, log_rate):
                return rates
        rates = -log_rate.detach().to(dtype).exp()
        self._kept = log_rate.detach().clone(), rates
        return rates

    def __deepcopy__(self, memo: object) -> "FallingRates":
        return FallingRates()

    def __reduce__(self) -> tuple[type["FallingRates"], tuple[()]]:
        return FallingRates, ()
