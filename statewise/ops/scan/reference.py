"""The diagonal scan written as its definition: one loop. Every other backend must agree with it."""

import torch
from jaxtyping import Bool, Inexact, Int
from torch import Tensor


def scan(
    decay: Inexact[Tensor, "batch time dim"] | Inexact[Tensor, " dim"],
    drive: Inexact[Tensor, "batch time dim"],
    *,
    initial: Inexact[Tensor, "batch dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = decay_t * h_{t-1} + drive_t,  and the last."""
    h, hs = initial, []
    decay = decay if decay.ndim == 3 else decay.expand(drive.shape)
    for t, (a, b) in enumerate(zip(decay.unbind(1), drive.unbind(1), strict=True)):
        before = h
        if reset is not None:
            before = torch.where(reset[:, t, None], 0, before)
        if lengths is None:
            h = a * before + b
            hs.append(h)
        else:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = (t < lengths)[:, None]
            h = torch.where(real, torch.where(real, a, 0) * before + torch.where(real, b, 0), h)
            hs.append(torch.where(real, h, 0))
    output = torch.stack(hs, 1) if hs else torch.zeros_like(drive)
    return output.to(drive.dtype), h.clone()
