"""The short convolution as a sum of shifted products, one for each tap.

Measured on one core at (16, 256, 256), width 4, float32, forward and backward: 10.9 ms, where
conv1d in groups took 18.2, conv2d in groups 12.3, and unfolding 31.9; forward alone 2.7, 3.2, 3.6
and 13.1. The sum takes resets in its stride, too.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def short_convolution(
    x: Float[Tensor, "batch time dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    *,
    initial: Float[Tensor, "batch past dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return the output at every time, and the last width - 1 inputs."""
    time, past = x.shape[1], initial.shape[1]
    place = torch.arange(time, device=x.device)
    real = None
    if lengths is not None:
        real = place < lengths[:, None]
        x = torch.where(real[..., None], x, 0)
        reset = None if reset is None else reset & real
    inputs = torch.cat([initial, x], 1)
    # The first place that each may look back to: before all of them, or at the last reset.
    first = None
    if reset is not None and time > 0:
        first = torch.where(reset, place, -past).cummax(1).values

    output = inputs[:, past:] * weight[:, past]
    for back in range(1, past + 1):
        seen = inputs[:, past - back : past - back + time]
        if first is not None:
            seen = torch.where((place - back >= first)[..., None], seen, 0)
        output = torch.addcmul(output, seen, weight[:, past - back])
    if bias is not None:
        output = output + bias
    if real is not None:
        output = torch.where(real[..., None], output, 0)

    return output, last_inputs(inputs, past, lengths, None if first is None else first[:, -1:])


def last_inputs(
    inputs: Float[Tensor, "batch all dim"],
    past: int,
    lengths: Int[Tensor, " batch"] | None,
    first: Int[Tensor, "batch 1"] | None = None,
) -> Float[Tensor, "batch past dim"]:
    """Return the last `past` of the inputs, a fresh tensor.

    Args:
        inputs: `past` from before the sequence, and those of the sequence.
        past: how many are asked for.
        lengths: how many of each row of the sequence are real; all if absent.
        first: the earliest that has not been reset; those before count as zero.
    """
    batch, columns, dim = inputs.shape
    if lengths is None and first is None:
        return inputs[:, columns - past :].clone()
    # Input number n is in column n + past, so that the last ones begin in column `ends`.
    device = inputs.device
    ends = torch.full((batch, 1), columns - past, device=device)
    if lengths is not None:
        ends = lengths[:, None]
    column = ends + torch.arange(past, device=device)
    final = inputs.gather(1, column[..., None].expand(-1, -1, dim))
    if first is not None:
        final = torch.where((column - past >= first)[..., None], final, 0)
    return final
