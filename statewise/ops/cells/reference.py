"""The classical cells written as their definitions: one loop. Every other backend must agree."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Float[Tensor, "batch hidden"], ...]
"""What a cell remembers; its output is the first."""


class Weights(NamedTuple):
    """A cell's parameters; the blocks of its gates lie one below the other."""

    input: Float[Tensor, "gates_hidden dim"]
    recurrent: Float[Tensor, "gates_hidden hidden"]
    input_bias: Float[Tensor, " gates_hidden"] | None = None
    recurrent_bias: Float[Tensor, " gates_hidden"] | None = None


class Cell(NamedTuple):
    """A cell: h_t, ... = update(W x_t + b, (h_{t-1}, ...), weights)."""

    name: str
    gates: int
    """Blocks of rows in its weights."""
    leaves: int
    """Tensors in its state."""
    update: Callable[[Tensor, State, Weights], State]


def recur(
    cell: Cell,
    x: Float[Tensor, "batch time dim"],
    weights: Weights,
    *,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    """Return the output at every time, and the last state."""
    state, outputs = initial, []
    real = None
    if lengths is not None:
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = torch.where(real[..., None], x, 0)
    projected = linear(x, weights.input, weights.input_bias)
    for t in range(x.shape[1]):
        before = state
        if reset is not None:
            before = tuple(torch.where(reset[:, t, None], 0, leaf) for leaf in before)
        if real is None:
            state = cell.update(projected[:, t], before, weights)
            outputs.append(state[0])
        else:
            # A row that has ended computes on zeros: its state may be NaN, and 0 * NaN would reach
            # the weights' gradients.
            now = real[:, t, None]
            before = tuple(torch.where(now, leaf, 0) for leaf in before)
            after = cell.update(projected[:, t], before, weights)
            outputs.append(torch.where(now, after[0], 0))
            state = tuple(torch.where(now, a, b) for a, b in zip(after, state, strict=True))
    output = torch.stack(outputs, 1) if outputs else x.new_zeros(len(x), 0, initial[0].shape[1])
    return output, tuple(leaf.clone() for leaf in state)


def _tanh(projected: Tensor, state: State, weights: Weights) -> State:
    """h = tanh(W x + U h + b)."""
    return (torch.tanh(projected + linear(state[0], weights.recurrent, weights.recurrent_bias)),)


def _relu(projected: Tensor, state: State, weights: Weights) -> State:
    """h = relu(W x + U h + b)."""
    return (torch.relu(projected + linear(state[0], weights.recurrent, weights.recurrent_bias)),)


def _lstm(projected: Tensor, state: State, weights: Weights) -> State:
    """c = f * c + i * g;  h = o * tanh(c)."""
    h, c = state
    gates = projected + linear(h, weights.recurrent, weights.recurrent_bias)
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(projected: Tensor, state: State, weights: Weights) -> State:
    """h = (1 - z) * n + z * h;  n = tanh(W x + b + r * (U h + b'))."""
    (h,) = state
    r, z, n = projected.chunk(3, -1)
    from_r, from_z, from_n = linear(h, weights.recurrent, weights.recurrent_bias).chunk(3, -1)
    n = torch.tanh(n + torch.sigmoid(r + from_r) * from_n)
    z = torch.sigmoid(z + from_z)
    return ((1 - z) * n + z * h,)


TANH = Cell("elman, tanh", 1, 1, _tanh)
RELU = Cell("elman, relu", 1, 1, _relu)
LSTM = Cell("lstm", 4, 2, _lstm)
GRU = Cell("gru", 3, 1, _gru)
