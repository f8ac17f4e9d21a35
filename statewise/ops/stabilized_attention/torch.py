"""Stabilized linear attention by chunks of time: matrix products within, a short loop between.

The running maxima m come first, by a scan in (max, +). With them

    forget_t = exp(log_forget_t + m_{t-1} - m_t)    admit_t = exp(log_input_t - m_t)

both in [0, 1], and what remains is linear attention with a scalar decay. Its output does not
depend on m, which is therefore held constant there; only the final state, whose unit is exp(m),
sends a gradient through m. Plain tensor operations: it runs on any device, under `torch.func`
transforms, and can be differentiated any number of times.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from statewise.ops.stabilized_attention.reference import State, guard

CHUNK = 64


def stabilized_linear_attention(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_input: Float[Tensor, "batch time heads"],
    log_forget: Float[Tensor, "batch time heads"],
    scale: float,
    eps: float,
    initial: State,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], State]:
    """Return every output and the last (C, n, m)."""
    dtype, time = value.dtype, query.shape[1]
    C, n, m = initial
    inputs = [x.to(C.dtype) for x in (query, key, value, log_input, log_forget)]
    if time == 0:
        return inputs[2].to(dtype, copy=True), (C.clone(), n.clone(), m.clone())
    # Beyond the end, and up to a whole number of chunks, times that neither forget nor admit.
    chunk = min(CHUNK, time)
    times = torch.arange(-(-time // chunk) * chunk, device=query.device)
    real = (times < time).expand(query.shape[0], -1)
    if lengths is not None:
        real = real & (times < lengths[:, None])
    q, k, v, log_input, log_forget = (
        torch.where(_over(real, x), pad(x, (0, 0) * (x.ndim - 2) + (0, len(times) - time)), 0)
        for x in inputs
    )
    log_input = torch.where(real[..., None], log_input, -torch.inf)
    ill = None
    if reset is None:
        stops = torch.zeros_like(real)
    else:
        stops = pad(reset, (0, len(times) - time)) & real
        ill = _since_reset(
            stops,
            ~k.isfinite().all(-1) | ~v.isfinite().all(-1) | log_input.isnan() | log_forget.isnan(),
            ~C.isfinite().all(-1).all(-1) | ~n.isfinite().all(-1) | m.isnan(),
        )
        k, v, C, n = (torch.where(x.isfinite(), x, 0) for x in (k, v, C, n))
        log_input, log_forget, m = (
            torch.where(x.isnan(), 0, x) for x in (log_input, log_forget, m)
        )

    stop = stops[..., None]
    fresh = torch.maximum(log_forget, log_input)
    maxima = _running_maximum(
        torch.where(stop, -torch.inf, log_forget), torch.where(stop, fresh, log_input), m
    )
    held = maxima.detach()
    before = torch.cat([m[:, None], held[:, :-1]], 1)
    # What was before a reset is masked below, so any finite number serves.
    log_decay = torch.where(stop | held.isinf(), 0, log_forget + before - held)
    admit = torch.where(real[..., None], (log_input - held).exp(), 0)

    numerator, normalizer, C, n = _decayed(
        [_chunked(x, chunk) for x in (scale * q, k, v, admit, log_decay)],
        stops.unflatten(1, (-1, chunk))[:, None],
        C,
        n,
    )
    low, floor = guard(_chunked(held, chunk))
    denominator = torch.maximum((normalizer * low).abs(), floor) + eps * floor
    output = numerator * (low / denominator)[..., None]
    output = output.permute(0, 2, 3, 1, 4).flatten(1, 2)

    last = maxima[:, -1]
    # The unit of the state: one in value, and minus one as the derivative by m.
    unit = torch.where(last.isinf(), 0, last.detach() - last).exp()
    C, n = unit[..., None, None] * C, unit[..., None] * n
    if ill is not None:
        output = torch.where(ill[..., None], torch.nan, output)
        C = torch.where(ill[:, -1, :, None, None], torch.nan, C)
        n = torch.where(ill[:, -1, :, None], torch.nan, n)
        last = torch.where(ill[:, -1], torch.nan, last)
    output = torch.where(real[..., None, None], output, 0)[:, :time]
    return output.to(dtype, copy=True), (C, n, last.clone())


def _over(marks: Tensor, x: Tensor) -> Tensor:
    """View (batch, time) so that it broadcasts with x."""
    return marks[(..., *[None] * (x.ndim - 2))]


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """(batch, time, heads, ...) to (batch, heads, chunks, chunk, ...)."""
    return x.unflatten(1, (-1, chunk)).movedim(3, 1)


def _running_maximum(
    add: Float[Tensor, "batch time heads"],
    least: Float[Tensor, "batch time heads"],
    first: Float[Tensor, "batch heads"],
) -> Float[Tensor, "batch time heads"]:
    """Return every m_t = max(add_t + m_{t-1}, least_t), in log2(time) passes (Hillis, Steele)."""
    add = torch.cat([torch.zeros_like(first)[:, None], add], 1)
    m = torch.cat([first[:, None], least], 1)
    reach = 1
    while reach < m.shape[1]:
        # Before this pass m_t has seen the last `reach` times; after it, twice as many.
        m = torch.cat(
            [m[:, :reach], torch.maximum(add[:, reach:] + m[:, :-reach], m[:, reach:])], 1
        )
        add = torch.cat([add[:, :reach], add[:, reach:] + add[:, :-reach]], 1)
        reach *= 2
    return m[:, 1:]


def _since_reset(
    stops: Bool[Tensor, "batch time"],
    ill: Bool[Tensor, "batch time heads"],
    first: Bool[Tensor, "batch heads"],
) -> Bool[Tensor, "batch time heads"]:
    """Return whether anything ill was read since the last reset.

    A product with a mask does not hide a NaN. So where rows may reset, the products see numbers
    only, and what would have been NaN becomes so again after them.
    """
    zero = torch.zeros((), device=ill.device)
    add = torch.where(stops[..., None].expand_as(ill), -torch.inf, zero)
    seen = (torch.where(x, zero, -torch.inf) for x in (ill, first))
    return _running_maximum(add, *seen) == 0


def _decayed(inputs, stops, C, n):
    """Return numerators and normalizers of every time, and the last C and n.

    Among the inputs q and k are (batch, heads, chunks, chunk, key), the rest accordingly.
    """
    q, k, v, admit, log_decay = inputs
    chunk = q.shape[-2]
    segment = stops.cumsum(-1)  # resets so far in this chunk
    whole = segment == 0  # whether the state before the chunk is still there
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    seen = causal & (segment[..., :, None] == segment[..., None, :])
    # Sums over the times between, not differences of running sums: these would cancel.
    between = torch.where(causal.tril(-1), log_decay[..., :, None], 0).cumsum(-2)
    weight = torch.where(seen, between, -torch.inf).exp() * admit[..., None, :]
    carried = torch.where(whole, log_decay.cumsum(-1), -torch.inf).exp()

    attention = q @ k.mT * weight
    keys = k * weight[..., -1, :, None]
    C_added, n_added = keys.mT @ v, keys.sum(-2)
    Cs, ns = [], []
    for i in range(q.shape[2]):
        Cs.append(C)
        ns.append(n)
        kept = carried[:, :, i, -1, None]
        C = kept[..., None] * C + C_added[:, :, i]
        n = kept * n + n_added[:, :, i]
    C_before, n_before = torch.stack(Cs, 2), torch.stack(ns, 2)
    numerator = attention @ v + carried[..., None] * (q @ C_before)
    normalizer = attention.sum(-1) + carried * (q @ n_before[..., None])[..., 0]
    return numerator, normalizer, C, n
