"""The elementwise scans by halving, as that of `scan`: work O(time), depth O(log time).

Pairs (a, b) stand for  h -> log(exp(a + h) + exp(b)),  and two of them compose to
(a1 + a2, log(exp(a2 + b1) + exp(b2))).  The online softmax is one such scan, of the logarithm of
its total, and a linear one of the mean:  y_t = exp(z_{t-1} - z_t) y_{t-1} + exp(score_t - z_t) v_t.

Dense transitions have no form here: composing two of them costs as many times more than one step
as there are states, and the loop over time is as parallel in everything else.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.scan.torch import scan
from statewise.ops.semiring.logs import logaddexp

Marks = Bool[Tensor, "batch time"] | None
Lengths = Int[Tensor, " batch"] | None


def log_scan(
    log_decay: Float[Tensor, "batch time dim"],
    log_drive: Float[Tensor, "batch time dim"],
    *,
    initial: Float[Tensor, "batch dim"],
    reset: Marks = None,
    lengths: Lengths = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim"]]:
    """Return every h_t of  h_t = logaddexp(log_decay_t + h_{t-1}, log_drive_t),  and the last."""
    time = log_drive.shape[1]
    if time == 0:
        return log_drive.clone(), initial.clone()
    stops = None if reset is None else reset[..., None]
    real = None
    if lengths is not None:
        real = (torch.arange(time, device=lengths.device) < lengths[:, None])[..., None]
        log_decay, log_drive = log_decay.where(real, 0), log_drive.where(real, -math.inf)
        stops = None if stops is None else stops & real
    # The initial state is the first pair: it has no past, and its decay is never used.
    h = _solve(
        torch.cat([torch.zeros_like(log_decay[:, :1]), log_decay], 1),
        torch.cat([initial[:, None], log_drive], 1),
        None if stops is None else torch.cat([torch.zeros_like(stops[:, :1]), stops], 1),
    )
    output, final = h[:, 1:], h[:, -1]
    if lengths is None or real is None:
        return output.clone(), final.clone()
    return output.where(real, 0), torch.where((lengths > 0)[:, None], final, initial)


def _solve(a: Tensor, b: Tensor, stops: Tensor | None) -> Tensor:
    """Return h for pairs (a, b) along axis 1; where `stops`, h is b whatever came before."""
    time = b.shape[1]
    if time == 1:
        return b
    pairs = time // 2
    a_even, a_odd = a[:, : 2 * pairs : 2], a[:, 1::2]
    b_even, b_odd = b[:, : 2 * pairs : 2], b[:, 1::2]
    s_both = None
    if stops is not None:
        # What a stop hides is replaced before it is added: it may be NaN.
        s_even, s_odd = stops[:, : 2 * pairs : 2], stops[:, 1::2]
        a_even, b_even = a_even.where(~s_odd, 0), b_even.where(~s_odd, -math.inf)
        s_both = s_even | s_odd
    odd = _solve(a_even + a_odd, logaddexp(a_odd + b_even, b_odd), s_both)
    before = odd[:, : (time - 1) // 2]
    if stops is not None:
        before = before.where(~stops[:, 2::2], -math.inf)
    even = torch.cat([b[:, :1], logaddexp(a[:, 2::2] + before, b[:, 2::2])], 1)
    woven = torch.stack([even[:, :pairs], odd], 2).flatten(1, 2)
    return torch.cat([woven, even[:, pairs:]], 1)


def softmax_scan(
    score: Float[Tensor, "batch time heads"],
    value: Float[Tensor, "batch time heads dim"],
    maximum: Float[Tensor, "batch heads"],
    total: Float[Tensor, "batch heads"],
    weighted: Float[Tensor, "batch heads dim"],
    *,
    reset: Marks = None,
    lengths: Lengths = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the mean of the values so far, each weighted by exp(score), at every time.

    Also the last maximum, total and weighted sum, both of which are scaled by exp(-maximum).
    """
    time = score.shape[1]
    if time == 0:
        return value.clone(), maximum.clone(), total.clone(), weighted.clone()
    given = maximum, total, weighted
    none = torch.zeros_like(score[..., 0], dtype=torch.bool)
    real = ~none
    if lengths is not None:
        real = torch.arange(time, device=lengths.device) < lengths[:, None]
        score = score.where(real[..., None], -math.inf)
        value = value.where(real[..., None, None], 0)
    stops = none if reset is None else reset & real
    # What the final state has seen: the real times from the last stop on, and the state given.
    later = stops.flip(1).cumsum(1).flip(1) - stops.to(torch.int64)
    seen = real & (later == 0)
    kept = ~stops.any(1)[:, None]
    # A state that nothing sees is replaced: it may be NaN, and so may 0 * NaN in the gradient.
    unseen = stops[:, :1]
    maximum, total = maximum.where(~unseen, -math.inf), total.where(~unseen, 0)
    weighted = weighted.where(~unseen[..., None], 0)

    # The logarithm of all weights so far, and the mean, from the state and from then on.
    nothing = total == 0
    start = maximum + torch.where(nothing, 1, total).log()
    start = torch.where(nothing, -math.inf, start)
    z, _ = log_scan(torch.zeros_like(score), score, initial=start, reset=stops)
    past = torch.cat([start[:, None], z[:, :-1]], 1)
    past = past.where(~stops[..., None], -math.inf)
    shift = torch.where(z == -math.inf, 0, z)
    decay, weight = (past - shift).exp(), (score - shift).exp()
    first = torch.where(nothing[..., None], 0, weighted / torch.where(nothing, 1, total)[..., None])
    drive = weight[..., None] * value
    mean, last = scan(
        decay[..., None].expand_as(drive).flatten(2),
        drive.flatten(2),
        initial=first.flatten(1),
        reset=stops,
    )
    mean, last = mean.unflatten(2, drive.shape[2:]), last.unflatten(1, drive.shape[2:])

    scores = torch.cat([maximum[:, None], score.where(seen[..., None], -math.inf)], 1)
    scores = scores.where(torch.cat([kept, seen], 1)[..., None], -math.inf)
    high = scores.max(1).values
    amount = (z[:, -1] - torch.where(high == -math.inf, 0, high)).exp()
    amounts = amount[..., None] * last
    if lengths is None:
        return mean.clone(), high.clone(), amount.clone(), amounts.clone()
    read = (lengths > 0)[:, None]
    return (
        mean.where(real[..., None, None], 0),
        high.where(read, given[0]),
        amount.where(read, given[1]),
        amounts.where(read[..., None], given[2]),
    )
