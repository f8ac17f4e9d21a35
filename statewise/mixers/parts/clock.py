"""Decays whose step size the input chooses, as in Mamba: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from statewise.mixers.base import state_dtype
from statewise.mixers.parts.rates import inverse_softplus, log_uniform


class Clock(nn.Module):
    """The logarithm of a decay,  -rate softplus(project(x) + bias),  for each head or each key.

    Steps start from 0.001 to 0.1, as many of each size (Gu and Dao, 2023, arXiv:2312.00752, section
    3.6), and rates uniform in a range, one for each head. Both are float32 or wider at work.

    Args:
        heads: how many.
        project: maps the input to a number for each head, or for each key of each head.
        least: the least rate at the start; above 0, so that its logarithm is a number.
        most: the largest rate at the start.
        width: keys of each head; None for one decay a head.
    """

    def __init__(
        self,
        heads: int,
        project: nn.Module,
        *,
        least: float,
        most: float,
        width: int | None = None,
    ):
        super().__init__()
        self.project = project
        shape = (heads,) if width is None else (heads, width)
        rate = torch.empty(heads if width is None else (heads, 1)).uniform_(least, most)
        self.log_rate = nn.Parameter(rate.log())
        self.bias = nn.Parameter(inverse_softplus(log_uniform(1e-3, 1e-1, *shape)))

    def forward(self, x: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*decay"]:
        """Return the logarithm of the decay."""
        wide = state_dtype(x.dtype)
        step = self.project(x).to(wide).unflatten(-1, self.bias.shape) + self.bias.to(wide)
        return -self.log_rate.to(wide).exp() * softplus(step)
