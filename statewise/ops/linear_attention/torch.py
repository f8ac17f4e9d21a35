"""Linear attention by chunks: matrix products within a chunk, a loop over the states between.

With G the sum of the log decays over (j, i], a chunk that begins with the state S_0 has

    y_i = S_0^T (exp(G_i0) * q_i) + sum_{j<=i} <q_i, exp(G_ij) * k_j> v_j
    S_n = exp(G_n0) * S_0 + sum_j (exp(G_nj) * k_j) v_j^T

(Dao and Gu, "Transformers are SSMs", 2024, section 6; Yang et al., "Gated Linear Attention
Transformers with Hardware-Efficient Training", 2023, section 4). The sums over (j, i] are added up
one by one and never come from differences of longer ones, so that a decay of any strength, zero
included, is exact. A decay per key and value leaves nothing to share within a chunk: every state is
written out, by the diagonal scan. Plain tensor operations: any device, any derivative.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statewise.ops.linear_attention.reference import shared
from statewise.ops.scan.torch import scan

CHUNK = 64
"""Positions computed together, with a decay per head or none."""
CHUNK_PER_KEY = 16
"""The same with a decay per key, whose sums are chunk * chunk * key numbers."""


def linear_attention(
    query: Float[Tensor, "batch time groups key"],
    key: Float[Tensor, "batch time groups key"],
    value: Float[Tensor, "batch time heads value"],
    *,
    log_decay: Float[Tensor, "batch time heads *axes"] | None = None,
    bonus: Float[Tensor, "heads key"] | None = None,
    scale: float = 1.0,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every y_t of  S_t = decay_t * S_{t-1} + k_t v_t^T,  y_t = S_t^T q_t,  and the last S.

    With a bonus u,  y_t = (S_{t-1} + diag(u) k_t v_t^T)^T q_t.
    """
    time, heads, dtype = value.shape[1], value.shape[2], value.dtype
    if time == 0:
        return value.to(dtype, copy=True), initial.clone()
    q, k, v = (x.to(initial.dtype) for x in (shared(query, heads), shared(key, heads), value))
    g = None if log_decay is None else log_decay.to(initial.dtype)
    real = None
    if lengths is not None:
        real = (torch.arange(time, device=lengths.device) < lengths[:, None])[..., None, None]
        q, k, v = (torch.where(real, x, 0) for x in (q, k, v))
        if g is not None:
            g = torch.where(real.view(*real.shape[:2], *[1] * (g.ndim - 2)), g, 0)
        reset = None if reset is None else reset & real[..., 0, 0]
    before = bonus is not None
    if g is not None and g.ndim == 5:
        output, final = _elementwise(q, k, v, g, initial=initial, reset=reset, before=before)
    else:
        output, final = _chunkwise(q, k, v, g, initial=initial, reset=reset, before=before)
    if bonus is not None:
        output = output + (q * bonus.to(q.dtype) * k).sum(-1, keepdim=True) * v
    output = output * scale
    if real is not None:
        output = torch.where(real, output, 0)
    return output.to(dtype), final


def _elementwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    *,
    initial: Tensor,
    reset: Tensor | None,
    before: bool,
) -> tuple[Tensor, Tensor]:
    """Return what is read of every state, and the last, with a decay per key and value."""
    written = (k[..., :, None] * v[..., None, :]).flatten(2)
    states, final = scan(g.exp().flatten(2), written, initial=initial.flatten(1), reset=reset)
    if before:
        states = torch.cat([initial.flatten(1)[:, None], states[:, :-1]], 1)
        states = states if reset is None else torch.where(reset[..., None], 0, states)
    states = states.unflatten(2, initial.shape[1:])
    return torch.einsum("bthk,bthkv->bthv", q, states), final.view(initial.shape)


def _chunkwise(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    *,
    initial: Tensor,
    reset: Tensor | None,
    before: bool,
) -> tuple[Tensor, Tensor]:
    """Return what is read of every state, and the last, with a decay per key, per head or none.

    Axes are (batch, heads, chunk, i, j, ...). Positions run from 1 to `size` within a chunk; 0 is
    its start. A position is read after it is written, or `before` it even decays.
    """
    time = v.shape[1]
    per_key = g is not None and g.ndim == 4
    size = min(CHUNK_PER_KEY if per_key else CHUNK, time)
    q, k, v = (_chunks(x, size) for x in (q, k, v))
    seen = torch.ones(1, 1, 1, size + 1, size + 1, dtype=torch.bool, device=v.device).tril()
    stops = sick = None
    if reset is not None:
        stops = _chunks(reset[:, :, None], size)
        count = torch.nn.functional.pad(stops.long().cumsum(-1), (1, 0))
        seen = seen & (count[..., :, None] == count[..., None, :])
        # 0 * NaN would cross a reset: what is not finite leaves the products, and comes back as NaN
        # wherever it is seen.
        sick = ~(k.isfinite().all(-1) & v.isfinite().all(-1))
        k, v = (torch.where(sick[..., None], 0, x) for x in (k, v))
    kept = seen[..., None] if per_key else seen
    weights = kept.to(v.dtype)
    if g is not None:
        weights = torch.where(kept, torch.where(kept, _sums(_chunks(g, size)), 0).exp(), 0)
    read, read_seen = weights[:, :, :, 1:], seen[..., 1:, :]
    if before:
        read, read_seen = weights[:, :, :, :-1], seen[..., :-1, :]
        if stops is not None:
            read_seen = read_seen & ~stops[..., None]
            read = torch.where(read_seen[..., None] if per_key else read_seen, read, 0)

    last = weights[:, :, :, -1]  # (batch, heads, chunk, j, ...)
    pushed = last[..., 1:, :] * k if per_key else last[..., 1:, None] * k
    written = pushed.mT @ v
    if sick is not None:
        reached = (sick & seen[..., -1, 1:]).any(-1)
        written = torch.where(reached[..., None, None], torch.nan, written)
    starts, state = [], initial
    carried = seen[..., -1, 0].expand(len(v), 1, v.shape[2])
    factor = last[..., 0, :, None] if per_key else last[..., 0, None, None]
    factor = factor.expand(*v.shape[:3], *factor.shape[3:])
    for chunk in range(v.shape[2]):
        starts.append(state)
        if sick is not None:
            state = torch.where(carried[:, :, chunk, None, None], state, 0)
        state = factor[:, :, chunk] * state + written[:, :, chunk]
    start = torch.stack(starts, 2)
    sick_start = None
    if sick is not None:
        sick_start = ~start.isfinite()
        start = torch.where(sick_start, 0, start)

    if per_key:
        scores = ((q[..., :, None, :] * read[..., 1:, :]) * k[..., None, :, :]).sum(-1)
        output = scores @ v + (q * read[..., 0, :]) @ start
    else:
        output = ((q @ k.mT) * read[..., 1:]) @ v + read[..., 0, None] * (q @ start)
    if sick is not None and sick_start is not None:
        reached = (sick[..., None, :] & read_seen[..., 1:]).any(-1)
        reached = reached | (sick_start.any(-1).any(-1)[..., None] & read_seen[..., 0])
        output = torch.where(reached[..., None], torch.nan, output)
    return output.flatten(2, 3)[:, :, :time].transpose(1, 2), state.clone()


def _chunks(x: Tensor, size: int) -> Tensor:
    """Turn (batch, time, heads, ...) into (batch, heads, chunk, size, ...), zeros at the end."""
    missing = -x.shape[1] % size
    x = torch.nn.functional.pad(x, [0, 0] * (x.ndim - 2) + [0, missing])
    return x.unflatten(1, (-1, size)).movedim(3, 1)


def _sums(g: Tensor) -> Tensor:
    """Return the sums of g over (j, i] for j <= i, along axis 3, with a first position of zero."""
    size = g.shape[3] + 1
    later = torch.ones(size, size, dtype=torch.bool, device=g.device).tril(-1)
    if g.ndim == 5:
        later = later[..., None]
        spread = torch.nn.functional.pad(g, (0, 0, 1, 0))[:, :, :, :, None]
    else:
        spread = torch.nn.functional.pad(g, (1, 0))[..., None]
    return torch.where(later, spread, 0).cumsum(3)
