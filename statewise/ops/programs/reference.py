"""Cells written as their definition: one loop. Every other backend must agree."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Leaves = Sequence[Num[Tensor, "batch ..."]]
Function = Callable[[Mapping[str, Tensor], Tensor, Leaves], tuple[Tensor, Any]]
"""A cell: the output and the leaves of the next state, from parameters, an input and leaves."""


def recur(
    cell: Function,
    parameters: Mapping[str, Tensor],
    x: Float[Tensor, "batch time dim"],
    *,
    initial: Leaves,
    start: Leaves,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time ..."], list[Num[Tensor, "batch ..."]]]:
    """Return the output at every time, and the last state."""
    state, outputs = list(initial), []
    real = None
    if lengths is not None:
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        x = torch.where(real[..., None], x, 0)
    for t in range(x.shape[1]):
        before = state if reset is None else _where(reset[:, t], start, state)
        if real is not None:
            # A row that has ended computes on its start: its state may be NaN, and 0 * NaN would
            # reach the gradients of the parameters.
            before = _where(real[:, t], before, start)
        y, after = cell(parameters, x[:, t], before)
        if real is not None:
            y = torch.where(real[:, t].reshape(-1, *[1] * (y.ndim - 1)), y, 0)
            after = _where(real[:, t], after, state)
        state = list(after)
        outputs.append(y)
    if not outputs:
        # What a cell answers is known when it has answered.
        y, _ = cell(parameters, x.new_zeros(len(x), x.shape[2]), state)
        return y[:, None][:, :0], [leaf.clone() for leaf in state]
    return torch.stack(outputs, 1), [leaf.clone() for leaf in state]


def _where(rows: Tensor, yes: Leaves, no: Leaves) -> list[Tensor]:
    return [
        torch.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        for a, b in zip(yes, no, strict=True)
    ]
