"""The scans of this op written as their definitions: one loop each."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.semiring.logs import logaddexp, logsumexp

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
    h, hs = initial, []
    for t, (a, b) in enumerate(zip(log_decay.unbind(1), log_drive.unbind(1), strict=True)):
        before = h if reset is None else torch.where(reset[:, t, None], -math.inf, h)
        if lengths is None:
            h = logaddexp(a + before, b)
            hs.append(h)
        else:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = (t < lengths)[:, None]
            h = torch.where(real, logaddexp(torch.where(real, a, 0) + before, b.where(real, 0)), h)
            hs.append(torch.where(real, h, 0))
    return torch.stack(hs, 1) if hs else torch.zeros_like(log_drive), h.clone()


def log_matrix_scan(
    log_transition: Float[Tensor, "..."],
    score: Float[Tensor, "batch time states"],
    *,
    initial: Float[Tensor, "batch states"],
    reset: Marks = None,
    lengths: Lengths = None,
) -> tuple[Float[Tensor, "batch time states"], Float[Tensor, "batch states"]]:
    """Return every  h_t[j] = logsumexp_i(h_{t-1}[i] + log_transition_t[i, j]) + score_t[j]."""

    def combine(paths: Tensor) -> Tensor:
        return logsumexp(paths, 1)

    hs, h = _chain(combine, log_transition, score, initial, reset, lengths)
    return torch.stack(hs, 1) if hs else torch.zeros_like(score), h


def max_matrix_scan(
    log_transition: Float[Tensor, "..."],
    score: Float[Tensor, "batch time states"],
    *,
    initial: Float[Tensor, "batch states"],
    reset: Marks = None,
    lengths: Lengths = None,
) -> tuple[
    Float[Tensor, "batch time states"],
    Float[Tensor, "batch states"],
    Int[Tensor, "batch time states"],
]:
    """Return every h_t of  h_t[j] = max_i(h_{t-1}[i] + log_transition_t[i, j]) + score_t[j].

    Also the last, and the i that each maximum chose; -1 where none did.
    """
    chosen: list[Tensor] = []

    def combine(paths: Tensor) -> Tensor:
        best = paths.max(1)
        chosen.append(best.indices)
        return best.values

    hs, h = _chain(combine, log_transition, score, initial, reset, lengths)
    if not hs:
        return torch.zeros_like(score), h, torch.zeros_like(score, dtype=torch.int32)
    output = torch.stack(hs, 1)
    before = torch.cat([initial[:, None], output[:, :-1]], 1)[..., 0]
    none = (before == math.inf) if reset is None else (before == math.inf) | reset
    if lengths is not None:
        none = none | (torch.arange(score.shape[1], device=score.device) >= lengths[:, None])
    pointers = torch.where(none[..., None], -1, torch.stack(chosen, 1))
    return output, h, pointers.to(torch.int32)


def _chain(combine, log_transition, score, initial, reset, lengths):
    """Return the list of every h and the last; `combine` reduces paths (batch, from, to)."""
    h, hs = initial, []
    for t, s in enumerate(score.unbind(1)):
        transition = log_transition if log_transition.ndim == 2 else log_transition[:, t]
        real = None if lengths is None else (t < lengths)[:, None]
        starts = h[:, :1] == math.inf
        if reset is not None:
            starts = starts | reset[:, t, None]
        before = h
        if real is not None:
            s = torch.where(real, s, 0)
            if transition.ndim == 3:
                transition = torch.where(real[..., None], transition, 0)
            before = torch.where(real, h, 0)
        # At a start nothing came before, and no transition is taken.
        came = combine(torch.where(starts, 0, before)[:, :, None] + transition)
        new = torch.where(starts, 0, came) + s
        h = new if real is None else torch.where(real, new, h)
        hs.append(h if real is None else torch.where(real, h, 0))
    return hs, h.clone()


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
    outputs: list[Tensor] = []
    for t, (s, v) in enumerate(zip(score.unbind(1), value.unbind(1), strict=True)):
        before = (maximum, total, weighted)
        m, u, w = before
        if reset is not None:
            stop = reset[:, t, None]
            m, u = torch.where(stop, -math.inf, m), torch.where(stop, 0, u)
            w = torch.where(stop[..., None], 0, w)
        real = None if lengths is None else (t < lengths)[:, None]
        if real is not None:
            s, v = torch.where(real, s, 0), torch.where(real[..., None], v, 0)
        high = torch.where(s > m, s, m)
        shift = torch.where(high == -math.inf, 0, high)
        kept, new = (m - shift).exp(), (s - shift).exp()
        u, w = kept * u + new, kept[..., None] * w + new[..., None] * v
        nothing = (u == 0)[..., None]
        y = torch.where(nothing, 0, w / torch.where(nothing, 1, u[..., None]))
        if real is not None:
            high, u = torch.where(real, high, before[0]), torch.where(real, u, before[1])
            w = torch.where(real[..., None], w, before[2])
            y = torch.where(real[..., None], y, 0)
        maximum, total, weighted = high, u, w
        outputs.append(y)
    output = torch.stack(outputs, 1) if outputs else torch.zeros_like(value)
    return output, maximum.clone(), total.clone(), weighted.clone()
