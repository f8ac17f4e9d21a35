"""How reservoirs are drawn, whose weights stay as they are: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def reservoir(
    mixer: str, hidden: int, *, radius: float, density: float, leak: float = 1.0
) -> Float[Tensor, "hidden hidden"]:
    """Return a W such that (1 - leak) I + leak W has this spectral radius.

    Every unit reads as many others, at least one, so that there is a cycle; their weights are
    normal.

    Args:
        mixer: its name, for what is refused.
        hidden: units.
        radius: the largest modulus of an eigenvalue.
        density: the part of all units that each reads.
        leak: how much of a unit is new at each time; 1 scales W itself.
    """
    if hidden < 1 or radius < 0 or not 0 < density <= 1 or not 0 < leak <= 1:
        raise ValueError(
            f"{mixer}: hidden = {hidden} should be at least 1, radius = {radius} at least 0, and "
            f"density = {density} and leak = {leak} above 0 and at most 1"
        )
    reads = max(1, round(density * hidden))
    chosen = torch.rand(hidden, hidden).argsort(1)[:, :reads]
    drawn = torch.zeros(hidden, hidden, dtype=torch.float64)
    drawn.scatter_(1, chosen, torch.randn(hidden, reads, dtype=torch.float64))
    rest = (1 - leak) * torch.eye(hidden, dtype=torch.float64)
    whole = rest + leak * drawn / reads**0.5
    whole *= radius / torch.linalg.eigvals(whole).abs().max()
    return ((whole - rest) / leak).to(torch.get_default_dtype())


def uniform(*shape: int, scale: float) -> Float[Tensor, "*axes"]:
    """Return numbers from -scale to scale."""
    return torch.empty(shape).uniform_(-1, 1) * scale
