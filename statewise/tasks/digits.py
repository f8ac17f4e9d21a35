"""Sequential digits: a picture read dot by dot, and which digit it is, asked after the last one.

    picture            inputs, in rows               permuted by one seed, the same for all pictures
    .  #  .
    .  #  .            . # . . # . . # .             # . . . . # . # .
    .  #  .            target, at the last: 1        target, at the last: 1

Pictures are 8 x 8 with 17 shades, those that scikit-learn carries along: 1,797, the test part of
Alpaydin and Kaynak, "Optical recognition of handwritten digits", 1998 (UCI, CC BY 4.0). The task is
that of Le et al., "A simple way to initialize recurrent networks of rectified linear units", 2015,
arXiv:1504.00941, section 4.2, which has pictures of 28 x 28.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CLASSES = 10


class Digits(NamedTuple):
    """Digits as sequences."""

    inputs: Float[Tensor, "batch time dim"]
    """Shades from 0 to 1."""
    targets: Int[Tensor, " batch"]
    """Which digit each is, wanted after the last input."""


def read(held_out: float = 0.2) -> tuple[Digits, Digits]:
    """Return the digits without the last part of them, and that part, dot by dot.

    Split by position, because neighbours are often of one writer.

    Args:
        held_out: the share kept for evaluation, between 0 and 1.

    Raises:
        ImportError: without scikit-learn, which carries the pictures.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it should be between 0 and 1")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            "the digits come with scikit-learn: pip install 'statewise[tasks]'"
        ) from None
    pixels, classes = load_digits(return_X_y=True)
    inputs = torch.from_numpy(pixels / 16).float()[..., None]
    targets = torch.from_numpy(classes).long()
    cut = len(inputs) - round(len(inputs) * held_out)
    return Digits(inputs[:cut], targets[:cut]), Digits(inputs[cut:], targets[cut:])


def permute(digits: Digits, seed: int) -> Digits:
    """Return the digits with their inputs in an order that the seed alone decides."""
    time = digits.inputs.shape[1]
    order = torch.randperm(time, generator=torch.Generator().manual_seed(seed))
    return digits._replace(inputs=digits.inputs[:, order])


def fold(digits: Digits, dots: int) -> Digits:
    """Return the digits with several dots in one input, such as 8 for a row.

    Raises:
        ValueError: if the inputs cannot be shared out evenly.
    """
    batch, time, dim = digits.inputs.shape
    if dots < 1 or time % dots:
        raise ValueError(f"dots is {dots}; it should divide the {time} inputs of a digit")
    return digits._replace(inputs=digits.inputs.reshape(batch, time // dots, dots * dim))


def enlarge(digits: Digits, times: int) -> Digits:
    """Return pictures as many times as wide and as high, dot by dot, each dot a square of itself.

    Raises:
        ValueError: if the inputs are not the dots of a square.
    """
    batch, time, dim = digits.inputs.shape
    width = math.isqrt(time)
    if width**2 != time or dim != 1:
        raise ValueError(f"inputs are ({batch}, {time}, {dim}); they should be the dots of squares")
    square = digits.inputs.reshape(batch, width, width, 1)
    wide = square.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return digits._replace(inputs=wide.flatten(1, 2))


def draw(digits: Digits, batch: int, generator: torch.Generator) -> Digits:
    """Return `batch` of the digits, drawn with repetition."""
    chosen = torch.randint(len(digits.targets), (batch,), generator=generator)
    return Digits(digits.inputs[chosen], digits.targets[chosen])


def loss(logits: Float[Tensor, "batch time classes"], digits: Digits) -> Float[Tensor, ""]:
    """Return the mean cost of the answers after the last input, in nats."""
    return functional.cross_entropy(logits[:, -1], digits.targets)


def accuracy(logits: Float[Tensor, "batch time classes"], digits: Digits) -> float:
    """Return the share of right answers after the last input; chance is one in ten."""
    return (logits[:, -1].argmax(-1) == digits.targets).double().mean().item()
