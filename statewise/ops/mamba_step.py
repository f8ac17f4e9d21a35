"""A step of Mamba's block in one call of the core: no op, but a shortcut past fifteen of them.

What it computes is what `Mamba.mix` says. A token of a model of 24 layers and 130 million
parameters spent 4 of its 12 milliseconds between those calls, with matrices of eight bits.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from statewise import backends
from statewise.ops.custom import core, fresh_like
from statewise.ops.linear.few import FEW
from statewise.ops.selective_scan import TABLE


class MambaWeights(NamedTuple):
    """The weights of a block, as its modules hold them.

    A matrix of eight bits has a scale for each of its rows; there may be no bias. The others are
    always there.
    """

    input: Tensor | None
    input_scale: Tensor | None
    taps: Tensor | None
    bias: Tensor | None
    select: Tensor | None
    select_scale: Tensor | None
    step_weight: Tensor | None
    step_bias: Tensor | None
    log_rate: Tensor | None
    skip: Tensor | None
    output: Tensor | None
    output_scale: Tensor | None


def mamba_step(
    x: Tensor, past: Tensor, h: Tensor, weights: MambaWeights, epsilon: float | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return y, and the past and h after it; None where the block has to be computed in parts.

    Args:
        x: (batch, dim).
        past: (batch, width - 1, inner), as the short convolution has it.
        h: (batch, inner, state).
        weights: of the block.
        epsilon: of the norms of what is selected, or None.
    """
    if len(x) > FEW or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    given = (x, past, h, *weights)
    if not backends.direct("selective_scan", TABLE, given):
        return None
    y, past_after, h_after = fresh_like(x), fresh_like(past), fresh_like(h)
    try:
        backends.run(partial(core().mamba_step, epsilon), *given, y, past_after, h_after)
    except ValueError:
        return None  # another layout or precision; what does not fit at all is said by the parts
    return y, past_after, h_after
