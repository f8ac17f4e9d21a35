"""The classical cells by torch's own kernels, which know neither resets nor lengths.

The columns where some row resets or ends cut the sequence into stretches. Within one, every row
reads on undisturbed or is over, so that the kernel is right; at the borders `where` puts states
back to zero, and lets those that are over stay. Resets that are rare cost little; with one in every
column this is a loop.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.cells.reference import GRU, LSTM, RELU, TANH, Cell, State, Weights

Kernel = Callable[[Tensor, Weights, State], tuple[Tensor, State]]


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
    real, kernel, time = None, KERNELS[cell.name], x.shape[1]
    borders = {0, time}
    if lengths is not None:
        real = torch.arange(time, device=x.device) < lengths[:, None]
        x = torch.where(real[..., None], x, 0)
        reset = None if reset is None else reset & real  # padding cuts nothing
        borders.update(lengths.unique().tolist())
    if reset is not None:
        borders.update(reset.any(0).nonzero().flatten().tolist())
    state, outputs = initial, []
    for start, stop in pairwise(sorted(borders)):
        before = state
        if reset is not None:
            before = tuple(torch.where(reset[:, start, None], 0, leaf) for leaf in before)
        if real is None:
            output, state = kernel(x[:, start:stop], weights, before)
        else:
            now = real[:, start, None]
            before = tuple(torch.where(now, leaf, 0) for leaf in before)
            output, after = kernel(x[:, start:stop], weights, before)
            output = torch.where(now[..., None], output, 0)
            state = tuple(torch.where(now, a, b) for a, b in zip(after, state, strict=True))
        outputs.append(output)
    output = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]
    return output, tuple(leaf.clone() for leaf in state)


def _kernel(function: Callable[..., tuple[Tensor, ...]]) -> Kernel:
    """Return one of torch's functions as a map of one layer, batch first."""

    def run(x: Tensor, weights: Weights, state: State) -> tuple[Tensor, State]:
        parameters = [weight for weight in weights[:4] if weight is not None]
        leaves = [leaf[None].contiguous() for leaf in state]
        # What follows the weights: has biases, layers, dropout, training, bidirectional, batch
        # first. `training` is true because cuDNN refuses gradients otherwise.
        output, *final = function(
            x,
            leaves if len(leaves) > 1 else leaves[0],
            parameters,
            weights.input_bias is not None,
            1,
            0.0,
            True,
            False,
            True,
        )
        return output, tuple(leaf[0] for leaf in final)

    return run


KERNELS = {
    TANH.name: _kernel(torch.rnn_tanh),
    RELU.name: _kernel(torch.rnn_relu),
    LSTM.name: _kernel(torch.lstm),
    GRU.name: _kernel(torch.gru),
}
