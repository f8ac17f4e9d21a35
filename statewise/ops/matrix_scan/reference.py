"""The matrix scan written as its definition: one loop. Every other backend must agree with it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def matrix_scan(
    transition: Float[Tensor, "rows times blocks n n"],
    drive: Float[Tensor, "batch time blocks n"],
    *,
    initial: Float[Tensor, "batch blocks n"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time blocks n"], Float[Tensor, "batch blocks n"]]:
    """Return every h_t of  h_t = transition_t h_{t-1} + drive_t,  and the last."""
    time = drive.shape[1]
    transitions = transition.expand(-1, time, -1, -1, -1).unbind(1)
    h, hs = initial, []
    for t, (a, b) in enumerate(zip(transitions, drive.unbind(1), strict=True)):
        before = h
        if reset is not None:
            before = torch.where(reset[:, t, None, None], 0, before)
        if lengths is None:
            h = _apply(a, before) + b
            hs.append(h)
        else:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = (t < lengths)[:, None, None]
            moved = _apply(torch.where(real[..., None], a, 0), before)
            h = torch.where(real, moved + torch.where(real, b, 0), h)
            hs.append(torch.where(real, h, 0))
    output = torch.stack(hs, 1) if hs else torch.zeros_like(drive)
    return output.to(drive.dtype), h.clone()


def _apply(a: Tensor, h: Tensor) -> Tensor:
    """Return a h, block by block, in the wider of their dtypes, as `@` would not."""
    return (a * h[..., None, :]).sum(-1)
