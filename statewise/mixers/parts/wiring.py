"""Layers one above the other, and what each of them reads of those below: no mixer itself."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise import mixers

Wiring = Literal["plain", "residual", "dense"]
"""Each layer reads the answer of the one below; or the sum of its input and answer; or x and the
answers of all below, side by side."""


def layers(name: str, spec: "mixers.Spec", dim: int, *, depth: int, wiring: str) -> nn.ModuleList:
    """Return layers that each fit what they read.

    Raises:
        ValueError: names the mixer, if the depth or the wiring does not exist, or if an answer
            cannot be added to what was read.
    """
    if depth < 1:
        raise ValueError(f"{name}: depth = {depth} should be at least 1")
    if wiring not in ("plain", "residual", "dense"):
        raise ValueError(f"{name}: wiring {wiring!r} should be 'plain', 'residual' or 'dense'")
    made, read = [], dim
    for _ in range(depth):
        layer: Any = mixers.build(spec, read)
        if wiring == "residual" and layer.out != read:
            raise ValueError(
                f"{name}: the residual wiring adds what a layer answers, {layer.out} features, to "
                f"what it read, {read}"
            )
        made.append(layer)
        read = read + layer.out if wiring == "dense" else layer.out
    return nn.ModuleList(made)


def answered(layers: nn.ModuleList) -> int:
    """Return how many features the top answers."""
    top: Any = layers[-1]
    return top.out


def above(
    wiring: str, x: Float[Tensor, "... read"], y: Float[Tensor, "... out"]
) -> Float[Tensor, "... above"]:
    """Return what the next layer reads, from what a layer read and answered."""
    if wiring == "dense":
        return torch.cat([x, y], -1)
    return x + y if wiring == "residual" else y
