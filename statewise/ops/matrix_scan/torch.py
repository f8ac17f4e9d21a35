"""The matrix scan by halving: neighbours are composed, half as many are solved, and so on.

With pairs (A, b) standing for  h -> A h + b,  two steps compose to  (A2 A1, A2 b1 + b2).  One level
composes times (0, 1), (2, 3), ...; the solution of the shorter scan is h at the odd times, from
which the even ones follow (Blelloch, "Prefix Sums and Their Applications", 1990, section 1.4).
Composing costs n times as much as a step: O(time n^3) work, depth O(log time). Where one transition
serves all times, its powers alone are composed, one a level.

Plain tensor operations: it runs on any device, under `torch.func` transforms, and can be
differentiated any number of times.
"""

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
    time, dtype = drive.shape[1], drive.dtype
    a, b = transition.to(initial.dtype), drive.to(initial.dtype)
    if time == 0:
        return drive.to(dtype, copy=True), initial.clone()
    stops, real = None, None
    if reset is not None or lengths is not None:
        a = a.expand(len(b), time, -1, -1, -1)  # what a mask hides differs from time to time
    if reset is not None:
        stops = reset[..., None, None]
    if lengths is not None:
        real = (torch.arange(time, device=lengths.device) < lengths[:, None])[..., None, None]
        same = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        a, b = torch.where(real[..., None], a, same), torch.where(real, b, 0)
        stops = None if stops is None else stops & real
    # The initial state is the first pair: it has no past, so that its transition is never used.
    h = _solve(
        a if a.shape[1] == 1 < time else torch.cat([torch.zeros_like(a[:, :1]), a], 1),
        torch.cat([initial[:, None], b], 1),
        None if stops is None else torch.cat([torch.zeros_like(stops[:, :1]), stops], 1),
    )
    final = h[:, -1].clone()
    output = h[:, 1:]
    if real is not None:
        output = torch.where(real, output, 0)
    return output.to(dtype, copy=lengths is None), final


def _solve(a: Tensor, b: Tensor, stops: Tensor | None) -> Tensor:
    """Return h for pairs (a, b) along axis 1; where `stops`, h is b whatever came before."""
    time = b.shape[1]
    if time == 1:
        return b
    pairs = time // 2
    a_even, a_odd = a[:, : 2 * pairs : 2], a[:, 1::2]
    a_next = a[:, 2::2]
    if a.shape[1] == 1:
        a_even = a_odd = a_next = a
    b_even, b_odd = b[:, : 2 * pairs : 2], b[:, 1::2]
    if stops is None:
        odd = _solve(a_odd @ a_even, _apply(a_odd, b_even) + b_odd, None)
    else:
        # What a stop hides is replaced before it is multiplied: it may be NaN, and so may 0 * NaN
        # in the gradient. The transitions before it are hidden as well as the drives.
        s_even, s_odd = stops[:, : 2 * pairs : 2], stops[:, 1::2]
        a_seen = torch.where(s_odd[..., None], 0, a_even)
        b_seen = torch.where(s_odd, 0, b_even)
        odd = _solve(a_odd @ a_seen, _apply(a_odd, b_seen) + b_odd, s_even | s_odd)
    before = odd[:, : (time - 1) // 2]
    if stops is not None:
        before = torch.where(stops[:, 2::2], 0, before)
    even = torch.cat([b[:, :1], _apply(a_next, before) + b[:, 2::2]], 1)
    woven = torch.stack([even[:, :pairs], odd], 2).flatten(1, 2)
    return torch.cat([woven, even[:, pairs:]], 1)


def _apply(a: Tensor, h: Tensor) -> Tensor:
    return (a @ h[..., None])[..., 0]
