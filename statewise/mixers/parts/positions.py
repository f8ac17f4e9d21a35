"""Positions in a sequence, and features that are turned by them: no mixer itself."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.mixers.base import within


def positions(
    x: Float[Tensor, "batch time dim"],
    *,
    initial: Int[Tensor, " batch"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Return the position of each input, counted from the start or a reset, and of the next one.

    It is called as an op is, `run(positions, x, initial=state.position)`, with a leaf of the state
    that counts in int64.

    Args:
        x: the inputs, of which only the number is read.
        initial: the position of the first.
        reset: where true, the position is 0.
        lengths: how many of each row are counted.
    """
    batch, time = x.shape[:2]
    place = torch.arange(time, device=x.device).expand(batch, -1)
    read = torch.full_like(initial, time) if lengths is None else lengths
    if reset is None:
        return initial[:, None] + place, initial + read
    # The last reset at or before each place, -1 where there was none.
    real = reset if lengths is None else reset & within(lengths, time)
    since = torch.where(real, place, -1).cummax(1).values
    begun = since.amax(1) if time else torch.full_like(initial, -1)
    position = torch.where(since < 0, initial[:, None] + place, place - since)
    return position, torch.where(begun < 0, initial + read, read - begun)


def positions_step(
    x: Float[Tensor, "batch dim"], initial: Int[Tensor, " batch"]
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Return the position of one input, and of the next: one time of `positions`."""
    return initial.clone(), initial + 1


def rotary_rates(half: int, device: torch.device, base: float = 10000.0) -> Float[Tensor, " half"]:
    """Return the angles by which a position turns pairs of features: base^(-j / half).

    In float64: a position near a million times a rate has no fraction left in float32.
    """
    return base ** -(torch.arange(half, device=device, dtype=torch.float64) / half)


def retention_rates(half: int, device: torch.device) -> Float[Tensor, " half"]:
    """Return RetNet's angles, whose last is 1 / 10000: 10000^(-j / (half - 1))."""
    return 10000.0 ** -torch.linspace(0, 1, half, device=device, dtype=torch.float64)


def turned(
    features: Float[Tensor, "batch *time heads key"],
    position: Int[Tensor, "batch *time"],
    rates: Float[Tensor, " half"],
) -> Float[Tensor, "batch *time heads key"]:
    """Return each pair of features (j, j + half) turned by position * rates[j], others as they are.

    The product of a query and a key that are turned depends on their distance alone (Su et al.,
    "RoFormer", 2021, arXiv:2104.09864, section 3.2).
    """
    angle = (position[..., None] * rates)[..., None, :]
    cosine, sine = angle.cos().to(features.dtype), angle.sin().to(features.dtype)
    half = len(rates)
    left, right, rest = features.split([half, half, features.shape[-1] - 2 * half], -1)
    return torch.cat([left * cosine - right * sine, left * sine + right * cosine, rest], -1)
