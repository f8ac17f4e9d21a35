"""Cells as functions of (parameters, x, state), which between them use every word of a program."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, logsigmoid, silu, softplus

WIDTH = 17  # no multiple of anything
DIM = 5


class Example(NamedTuple):
    """A cell, and the shapes of its parameters and of its state's leaves."""

    cell: Callable
    shapes: dict[str, tuple[int, ...]]
    leaves: tuple[tuple[int, ...], ...] = ((WIDTH,),)
    counts: tuple[bool, ...] = (False,)


def plain(p, x, state):
    """Two gates, one product, and an output that no later state needs."""
    (h,) = state
    c, g = (linear(x, p["W"], p["b"]) + linear(h, p["U"])).chunk(2, -1)
    g = torch.sigmoid(g)
    h = g * h + (1 - g) * torch.tanh(c)
    return linear(h, p["V"]) + x.mean(-1, keepdim=True), (h,)


def chained(p, x, state):
    """Products that wait for each other, one matrix read twice, a bias beside the recurrence."""
    (h,) = state
    drive = linear(x, p["W"])
    for _ in range(2):
        t = torch.sigmoid(linear(h, p["T"], p["b"]))
        h = h + t * (torch.relu(linear(t * h, p["U"]) + drive) - h)
    return h, (h,)


def oscillator(p, x, state):
    """Two leaves side by side before the product, and parameters computed from parameters."""
    y, z = state
    M = p["A"] - p["A"].T - 0.1 * torch.eye(2 * WIDTH, dtype=x.dtype, device=x.device)
    force = linear(torch.cat([y, z], -1), M[:WIDTH]) + linear(x, p["W"])
    z = z + 0.1 * (torch.tanh(force) - y * p["stiffness"].exp() - 0.5 * z)
    y = y + p["step"].sigmoid() * z
    return torch.cat([y, z], 1), (y, z)


def stabilized(p, x, state):
    """Extremes, logarithms, masks and a normalizer."""
    c, n, m = state
    i, f, z = linear(x, p["W"], p["b"]).split(WIDTH, 1)
    carried = logsigmoid(f + 0.1 * c) + m
    m = torch.maximum(carried, torch.minimum(i, m + 2))
    i, f = torch.exp(i - m), torch.exp(carried - m)
    c, n = f * c + i * silu(z + 0.1 * c), f * n + i
    y = c / n.clamp(min=1e-3) + torch.where(c > n, c.abs(), torch.sign(c - z) * softplus(c))
    return y * p["b"][:WIDTH], (torch.lerp(c, y, 0.2), n.clamp(max=50.0), m)


def normed(p, x, state):
    """A norm inside the step, sums along the row, powers and roots."""
    (h,) = state
    h = layer_norm(linear(h, p["U"]) + linear(x, p["W"]), [WIDTH], p["gain"], p["bias"], 1e-5)
    size = h.square().sum(-1, keepdim=True)
    h = h * torch.rsqrt(1 + size) + torch.log(1 + (h**2)) / torch.sqrt(4 + size)
    h = torch.lerp(h, x.sum(1, keepdim=True) * p["gain"], 0.25)
    return h, (h - h.mean(1, keepdim=True),)


def compared(p, x, state):
    """Every comparison, and arithmetic with numbers on either side."""
    (h,) = state
    a = linear(x, p["W"])
    near = ~torch.logical_not(torch.logical_and(a >= h, (h <= p["edge"]) & (h > -9)))
    h = torch.where(near, 2 - h / 3, torch.where(h < 0, 1 / (h - 2), -h * 0.5 + 1))
    h = h + torch.zeros_like(h) + torch.ones_like(h) * (h == 0) - torch.full_like(h, 0.25)
    more = torch.cat([h.new_zeros(len(h), 1), h.new_ones(len(h), 1)], 1).sum(1, True)
    h = torch.sub(h, a, alpha=0.5) + (h > 0.1) * (h <= 0.2) * more
    return h, (h.clamp(-1.5, 1.5),)


def clockwork(p, x, state):
    """A leaf that counts."""
    h, t = state
    active = t[:, None] % p["periods"].round().abs().add(1) == 0
    h = torch.where(active, torch.tanh(linear(x, p["W"]) + linear(h, p["U"])), h)
    return h * torch.cos(t[:, None] * 0.1), (h, t + 1)


def delayed(p, x, state):
    """A leaf of more than two axes: a buffer of what was."""
    h, past = state
    old = past.view(len(past), 3 * WIDTH)[:, :WIDTH].clone()
    h = torch.tanh(
        linear(h, p["U"])
        + linear(old * torch.stack([past[:, 1], h], 1)[:, 0], p["Q"])
        + linear(x, p["W"])
    )
    past = torch.cat([past[:, 1:], h.unsqueeze(1)], 1)
    return past.flatten(1)[:, -2 * WIDTH :], (h, past)


def bare(p, x, state):
    """No parameter at all; the state is what was answered before."""
    (mean,) = state
    return mean.clone(), ((x + mean) / 2,)


W, U = (WIDTH, DIM), (WIDTH, WIDTH)
EXAMPLES = {
    "plain": Example(
        plain, {"W": (2 * WIDTH, DIM), "b": (2 * WIDTH,), "U": (2 * WIDTH, WIDTH), "V": (3, WIDTH)}
    ),
    "chained": Example(chained, {"W": W, "T": U, "U": U, "b": (WIDTH,)}),
    "oscillator": Example(
        oscillator,
        {"W": W, "A": (2 * WIDTH, 2 * WIDTH), "stiffness": (WIDTH,), "step": ()},
        ((WIDTH,), (WIDTH,)),
        (False, False),
    ),
    "stabilized": Example(
        stabilized,
        {"W": (3 * WIDTH, DIM), "b": (3 * WIDTH,)},
        ((WIDTH,),) * 3,
        (False,) * 3,
    ),
    "normed": Example(normed, {"U": U, "W": W, "gain": (WIDTH,), "bias": (WIDTH,)}),
    "compared": Example(compared, {"W": W, "edge": (1, WIDTH)}),
    "clockwork": Example(
        clockwork, {"W": W, "U": U, "periods": (WIDTH,)}, ((WIDTH,), ()), (False, True)
    ),
    "delayed": Example(delayed, {"U": U, "Q": U, "W": W}, ((WIDTH,), (3, WIDTH)), (False, False)),
    "bare": Example(bare, {}, ((DIM,),)),
}


def drawn(example: Example, batch: int, time: int, dtype=torch.float64):
    """Return parameters by name, x, and two states: the initial one, and the one resets go to."""
    g = torch.Generator().manual_seed(0)

    def draw(shape, size=1.0):
        return (size * torch.randn(shape, generator=g, dtype=torch.float64)).to(dtype)

    parameters = {
        name: draw(shape, 1 / math.sqrt(shape[-1] if len(shape) > 1 else 2))
        for name, shape in example.shapes.items()
    }

    def state(counts_from: int) -> list[Tensor]:
        return [
            torch.arange(batch) % 3 + counts_from if counts else draw((batch, *leaf)).abs()
            for leaf, counts in zip(example.leaves, example.counts, strict=True)
        ]

    return parameters, draw((batch, time, DIM)), state(1), state(0)
