"""Random numbers whose source is a leaf of a state, so that they are never global: no mixer itself.

A leaf that counts draws goes wherever its state does: into files, into the second computation of
what was not kept, into another process. The same count draws the same number.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def uniform(draws: Int[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return a number in [0, 1) for each count: its bits well mixed, by the mixer of SplitMix64.

    Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    z = (draws + 1) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return _shifted(z ^ _shifted(z, 31), 11).to(torch.float64) / 2**53


def _shifted(z: Int[Tensor, "*axes"], bits: int) -> Int[Tensor, "*axes"]:
    """Return z as an unsigned number divided by 2 ** bits."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    return number - (1 << 64)
