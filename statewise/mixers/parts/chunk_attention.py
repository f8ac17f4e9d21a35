"""Attention of each position to those before it in its chunk, as an op: no mixer itself.

Ma et al., "Mega: Moving Average Equipped Gated Attention", 2022, arXiv:2209.10655, section 3.4.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Chunk = tuple[Tensor, Tensor, Tensor]
"""Keys and values of the chunk in progress, in slots, empty ones zero; the next position."""


def chunk_attention(
    query: Float[Tensor, "batch time key"],
    key: Float[Tensor, "batch time key"],
    value: Float[Tensor, "batch time value"],
    nearness: Float[Tensor, " chunk"],
    *,
    initial: Chunk,
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time value"], Chunk]:
    """Return  sum_s softmax_s(q_t . k_s / sqrt(key) + nearness_{t-s}) v_s,  and the chunk after.

    s goes from the first position of t's chunk to t; chunks begin at the start and at resets, and
    after as many positions as `nearness` has numbers.
    """
    time, size = query.shape[1], max(len(nearness), 64)
    dtype, wide = query.dtype, torch.promote_types(query.dtype, initial[0].dtype)
    query, key, value, nearness = (part.to(wide) for part in (query, key, value, nearness))
    if lengths is None:
        lengths = torch.full(query.shape[:1], time, device=query.device)
    outputs, state = [], (initial[0].to(wide), initial[1].to(wide), initial[2])
    for start in range(0, max(time, 1), size):
        now = slice(start, start + size)
        length = (lengths - start).clamp(0, size)
        marked = None if reset is None else reset[:, now]
        output, state = _piece(
            query[:, now], key[:, now], value[:, now], nearness, state, marked, length
        )
        outputs.append(output)
    return torch.cat(outputs, 1).to(dtype), state


def _piece(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    nearness: Tensor,
    state: Chunk,
    reset: Tensor | None,
    lengths: Tensor,
) -> tuple[Tensor, Chunk]:
    keys, values, count = state
    time, size = query.shape[1], len(nearness)
    place = torch.arange(time, device=query.device)
    slot = torch.arange(size, device=query.device)
    real = place < lengths[:, None]
    # The last reset at or before each place, -1 where there was none.
    since = torch.full((len(query), time), -1, device=query.device)
    if reset is not None:
        since = torch.where(reset & real, place, -1).cummax(1).values
    position = torch.where(since < 0, count[:, None] + place, place - since)
    begin = place - position % size  # below zero, if the chunk began before this piece

    # Those in the state come first, at places before zero.
    held = count[:, None] % size
    places = torch.cat([slot - held, place.expand(len(query), -1)], 1)
    known = torch.cat([slot < held, torch.ones_like(since, dtype=torch.bool)], 1)
    visible = (places[:, None] >= begin[..., None]) & (places[:, None] <= place[:, None])
    visible = visible & known[:, None]
    all_keys, all_values = torch.cat([keys, key], 1), torch.cat([values, value], 1)
    # A weight of zero does not hide a NaN from a product: none goes in, and who sees one is marked.
    sound = all_keys.isfinite().all(-1) & all_values.isfinite().all(-1)
    asked = query.isfinite().all(-1)
    safe = [torch.where(sound[..., None], part, 0) for part in (all_keys, all_values)]
    scores = torch.where(asked[..., None], query, 0) @ safe[0].mT * query.shape[-1] ** -0.5
    scores = scores + nearness[(place[:, None] - places[:, None]).clamp(0, size - 1)]
    output = scores.where(visible, -torch.inf).softmax(-1) @ safe[1]
    spoilt = ~asked | (visible & ~sound[:, None]).any(-1)
    output = torch.where(spoilt[..., None], torch.nan, output)

    # The chunk in progress after the last real input, and where its positions are.
    last = (lengths[:, None] - 1).clamp(min=0)
    total = torch.where(lengths > 0, position.gather(1, last)[:, 0] + 1, count) if time else count
    kept = total[:, None] % size
    at = lengths[:, None] - kept + slot
    source = torch.where(at < 0, slot, size + at)
    empty = slot >= kept
    source = torch.where(empty, 0, source)[..., None]
    after_keys, after_values = (
        torch.where(empty[..., None], 0, part.gather(1, source.expand(-1, -1, part.shape[2])))
        for part in (all_keys, all_values)
    )
    return output, (after_keys, after_values, total.clone())


def chunk_attention_step(
    query: Float[Tensor, "batch key"],
    key: Float[Tensor, "batch key"],
    value: Float[Tensor, "batch value"],
    nearness: Float[Tensor, " chunk"],
    state: Chunk,
) -> tuple[Float[Tensor, "batch value"], Chunk]:
    """Return one output of `chunk_attention`, and the chunk after."""
    given = (query[:, None], key[:, None], value[:, None], nearness)
    output, state = chunk_attention(*given, initial=state)
    return output[:, 0], state
