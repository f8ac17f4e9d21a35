"""Seasons: series that repeat, each with a phase and a shape of its own, under noise that lingers.

    period 4    1  3  1 -2   1  3  1 -2 ...      the season
                        + 0.2 0.5 0.3 -0.1 ...   the noise, whose neighbours are alike

The season is a wave and its first overtone, with normal amplitudes; the noise is autoregressive of
the first order. Both have a variance of 1 and of `noise` ** 2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Seasons:
    """Series without end.

    Args:
        period: steps after which the season repeats, at least 2.
        noise: its standard deviation, 0 or more.
        lingers: the share of the noise that is still there a step later, from 0 to below 1.
    """

    period: int = 12
    noise: float = 0.5
    lingers: float = 0.7

    def __post_init__(self) -> None:
        if self.period < 2 or self.noise < 0 or not 0 <= self.lingers < 1:
            raise ValueError(
                f"period is {self.period}, at least 2; noise {self.noise}, at least 0; lingers "
                f"{self.lingers}, from 0 to below 1"
            )

    def draw(
        self, batch: int, length: int, generator: torch.Generator
    ) -> Float[Tensor, "batch time"]:
        """Return `batch` series of `length` steps."""
        waves = torch.arange(1, 3)[:, None] * torch.arange(length) * (2 * math.pi / self.period)
        waves = torch.cat([waves.cos(), waves.sin()]) / 2**0.5
        season = torch.randn(batch, 4, generator=generator) @ waves
        news = self.noise * torch.randn(length, batch, generator=generator)
        noise = [news[0]]
        for new in news[1:]:
            noise.append(self.lingers * noise[-1] + (1 - self.lingers**2) ** 0.5 * new)
        return season + torch.stack(noise, 1)
