"""The diagonal scan by halving: neighbours are composed, half as many are solved, and so on.

With pairs (a, b) standing for  h -> a h + b,  two steps compose to  (a2 a1, a2 b1 + b2).  One level
composes times (0, 1), (2, 3), ...; the solution of the shorter scan is h at the odd times, from
which the even ones follow. Work O(time), depth O(log time) (Blelloch, "Prefix Sums and Their
Applications", 1990, section 1.4), in plain tensor operations: it runs on any device, under
`torch.func` transforms, and can be differentiated any number of times. A constant decay is squared
from level to level, and never given a batch or a time.
"""

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
    time, dtype = drive.shape[1], drive.dtype
    decay, drive = decay.to(initial.dtype), drive.to(initial.dtype)
    if time == 0:
        return drive.to(dtype, copy=True), initial.clone()
    stops = None if reset is None else reset[..., None]
    real = None
    if lengths is not None:
        real = (torch.arange(time, device=lengths.device) < lengths[:, None])[..., None]
        drive = torch.where(real, drive, 0)
        if decay.ndim == 3:
            decay = torch.where(real, decay, 1)
        stops = None if stops is None else stops & real
    # The initial state is the first pair, (0, initial): it has no past.
    if decay.ndim == 3:
        decay = torch.cat([torch.zeros_like(decay[:, :1]), decay], 1)
    h = _solve(
        decay,
        torch.cat([initial[:, None], drive], 1),
        None if stops is None else torch.cat([torch.zeros_like(stops[:, :1]), stops], 1),
    )
    output = h[:, 1:]
    if lengths is None or real is None:
        final = h[:, -1].clone()
    else:
        last = lengths.clamp(0, time).to(torch.int64)
        final = h.gather(1, last[:, None, None].expand(-1, 1, h.shape[2]))[:, 0]
        output = torch.where(real, output, 0)
    return output.to(dtype, copy=lengths is None), final


def _solve(a: Tensor, b: Tensor, stops: Tensor | None) -> Tensor:
    """Return h for pairs (a, b) along axis 1; where `stops`, h is b whatever came before."""
    time = b.shape[1]
    if time == 1:
        return b
    pairs = time // 2
    # The first decay of all is never used: a constant one stands for it as well.
    a_even, a_odd, a_later = (
        (a, a, a) if a.ndim == 1 else (a[:, : 2 * pairs : 2], a[:, 1::2], a[:, 2::2])
    )
    b_even, b_odd = b[:, : 2 * pairs : 2], b[:, 1::2]
    if stops is None:
        odd = _solve(a_even * a_odd, a_odd * b_even + b_odd, None)
    else:
        # What a stop hides is replaced before it is multiplied: it may be NaN, and so may 0 * NaN
        # in the gradient. The decays before it are hidden as well as the drives.
        s_even, s_odd = stops[:, : 2 * pairs : 2], stops[:, 1::2]
        a_seen = a if a.ndim == 1 else torch.where(s_odd, 0, a_even)
        b_seen = torch.where(s_odd, 0, b_even)
        odd = _solve(a_seen * a_odd, a_odd * b_seen + b_odd, s_even | s_odd)
    before = odd[:, : (time - 1) // 2]
    if stops is not None:
        before = torch.where(stops[:, 2::2], 0, before)
    even = torch.cat([b[:, :1], a_later * before + b[:, 2::2]], 1)
    woven = torch.stack([even[:, :pairs], odd], 2).flatten(1, 2)
    return torch.cat([woven, even[:, pairs:]], 1)
