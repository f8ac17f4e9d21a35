"""Inputs of some times before, side by side, as an op: no mixer itself.

What a dilated convolution over all features multiplies with its weights.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.convolution.torch import last_inputs


def taps(
    x: Float[Tensor, "batch time dim"],
    width: int,
    gap: int,
    *,
    initial: Float[Tensor, "batch past dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time seen"], Float[Tensor, "batch past dim"]]:
    """Return  [x_{t - (width - 1) gap}, ..., x_{t - gap}, x_t]  at every t, and the last inputs.

    It is called as an op is, `run(taps, x, width, gap, initial=state.past)`. Inputs before the
    first are those of `initial`, oldest first, and before the last reset zeros.

    Args:
        x: the inputs. Those beyond `lengths` are read, and come only where t is beyond it too.
        width: how many are side by side.
        gap: times from one to the next.
        initial: the (width - 1) gap inputs before the first.
        reset: where inputs before count as zeros from there on.
        lengths: after how many of each row the last inputs are taken.
    """
    time, past = x.shape[1], initial.shape[1]
    wide = torch.promote_types(x.dtype, initial.dtype)
    inputs = torch.cat([initial.to(wide), x.to(wide)], 1)
    seen = [inputs[:, back : back + time] for back in range(0, past + 1, gap)]
    first = None
    if reset is not None and time > 0:
        place = torch.arange(time, device=x.device)
        if lengths is not None:
            reset = reset & (place < lengths[:, None])
        # The first place that each may look back to: before all of them, or at the last reset.
        first = torch.where(reset, place, -past).cummax(1).values
        for tap, back in enumerate(range(past, 0, -gap)):
            seen[tap] = torch.where((place - back >= first)[..., None], seen[tap], 0)
        first = first[:, -1:]
    return torch.cat(seen, -1).to(x.dtype), last_inputs(inputs, past, lengths, first)


def taps_step(
    x: Float[Tensor, "batch dim"], width: int, gap: int, initial: Float[Tensor, "batch past dim"]
) -> tuple[Float[Tensor, "batch seen"], Float[Tensor, "batch past dim"]]:
    """Return the inputs side by side, and the last ones: one time of `taps`."""
    inputs = torch.cat([initial, x[:, None].to(initial.dtype)], 1)
    return inputs[:, ::gap].flatten(1).to(x.dtype), inputs[:, 1:].clone()
