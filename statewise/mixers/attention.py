r"""Attention: every position reads what it chooses from those before it, which are all kept.

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.2; rotary positions
from Su et al., "RoFormer", 2021, arXiv:2104.09864, section 3.2; the window as in Child et al.,
"Generating Long Sequences with Sparse Transformers", 2019, arXiv:1904.10509, section 4.

    q_t, k_t, v_t = W_qkv x_t                              of each head, (head_dim) each
    q_t, k_t = R_p q_t, R_p k_t                            p the position since the start or a reset
    a_ts = softmax_s(q_t . k_s / sqrt(head_dim))           s <= t, within the window
    y_t = W_out [sum_s a_ts v_s]                           heads side by side

R_p turns each pair of features (j, j + head_dim / 2) by the angle p / 10000^(2 j / head_dim), and
is left out without rotary positions.

Family   attention
Forms    all positions at once, with a window piece by piece; step
State    keys and values, (batch, capacity, heads, head_dim) each, in slots: position p is in slot
         p mod capacity, and empty slots are zero; position, (batch,), of the next input, counted
         from the start or a reset. With a window the capacity is the window, a ring; without, it
         grows by one with each input
Cost     O(time dim^2 + time (capacity + time) dim) work in `forward`, with a window
         O(time dim^2 + time window dim); O(dim^2 + capacity dim) in `step`
Differs  One projection to queries, keys and values, without biases; no dropout.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from statewise import backends
from statewise.mixers.base import Mixer, state_dtype, within, zeros
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.positions import rotary_rates, turned
from statewise.ops.derivatives import differentiable_again


class AttentionState(NamedTuple):
    """What attention remembers: everything, or a window of it."""

    keys: Float[Tensor, "batch capacity heads key"]
    values: Float[Tensor, "batch capacity heads key"]
    position: Int[Tensor, " batch"]


class Attention(Mixer[AttentionState]):
    """Causal softmax attention with rotary positions.

    Args:
        dim: features read and answered.
        heads: parts of the features that attend apart; they divide `dim` into even parts.
        window: how many positions each one sees, itself included; all, if absent, and then the
            state grows with the sequence.
        rotary: whether queries and keys are turned by their positions; hybrids, whose recurrences
            know the order, may do without.
    """

    def __init__(self, dim: int, *, heads: int = 4, window: int | None = None, rotary: bool = True):
        super().__init__()
        if heads < 1 or dim % heads != 0 or (rotary and dim // heads % 2 != 0):
            even = " by even parts" if rotary else ""
            raise ValueError(f"attention: heads = {heads} should divide dim = {dim}{even}")
        if window is not None and window < 1:
            raise ValueError(f"attention: window = {window} should be at least 1")
        self.dim = self.out = dim
        self.heads, self.window, self.rotary = heads, window, rotary
        self.query_key_value = Linear(dim, 3 * dim, bias=False)
        self.output = Linear(dim, dim, bias=False)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AttentionState:
        """Return no position at all, or a window of empty slots."""
        shape = (batch, self.window or 0, self.heads, self.dim // self.heads)
        keys = zeros(self, *shape, device=device, dtype=dtype)
        count = torch.zeros(batch, dtype=torch.int64, device=keys.device)
        return AttentionState(keys, keys.clone(), count)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        state: AttentionState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], AttentionState]:
        """Map a whole sequence."""
        return self.read(x, state, reset=reset, lengths=lengths)

    def read(
        self,
        x: Float[Tensor, "batch time dim"],
        state: AttentionState | None = None,
        *,
        reach: Int[Tensor, " batch"] | None = None,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time out"], AttentionState]:
        """Map a whole sequence, with a window in pieces that are not much longer than that.

        With `reach` each row sees so many positions at most, within what the state keeps.
        """
        time, wide = x.shape[1], state_dtype(x.dtype)
        if state is None:
            state = self.initial_state(len(x), device=x.device, dtype=wide)
        real = None
        if lengths is not None:
            real = within(lengths, time)
            x = torch.where(real[..., None], x, 0)
            reset = None if reset is None else reset & real
        projected = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        # A piece of at least 64: below, the calls cost more than the positions in vain.
        size = max(time, 1) if self.window is None else max(self.window, 64)
        pieces = []
        for start in range(0, max(time, 1), size):
            now = slice(start, start + size)
            *piece, state = self._read(
                projected[:, now],
                state,
                reach,
                None if reset is None else reset[:, now],
                None if real is None else real[:, now],
            )
            pieces.append(piece)
        read, spoilt = (torch.cat(parts, 1) for parts in zip(*pieces, strict=True))
        y = self.output(read.to(projected.dtype).flatten(2))
        y = torch.where(spoilt[..., None], torch.nan, y)
        return y if real is None else torch.where(real[..., None], y, 0), state

    def _read(
        self,
        projected: Float[Tensor, "batch time 3 heads key"],
        state: AttentionState,
        reach: Int[Tensor, " batch"] | None,
        reset: Bool[Tensor, "batch time"] | None,
        real: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time heads key"], Bool[Tensor, "batch time"], AttentionState]:
        """Return what each position reads, where that is NaN, and the state after the last."""
        batch, time = projected.shape[:2]
        capacity, count = state.keys.shape[1], state.position[:, None]
        place = torch.arange(time, device=projected.device)[None]
        # The last reset at or before each place, -1 where there was none.
        since = torch.full_like(place, -1).expand(batch, -1)
        if reset is not None:
            since = torch.where(reset, place, -1).cummax(1).values
        position = torch.where(since < 0, count + place, place - since)

        query, key, value = projected.to(state.keys.dtype).unbind(2)
        if self.rotary:
            rates = rotary_rates(query.shape[-1] // 2, query.device)
            query, key = turned(query, position, rates), turned(key, position, rates)
        keys, values = torch.cat([state.keys, key], 1), torch.cat([state.values, value], 1)

        held = _held(count, capacity)
        old = (since < 0)[..., None] & (held >= 0)[:, None]
        new = (place[..., None, :] <= place[..., None]) & (place[..., None, :] >= since[..., None])
        for limit in (self.window, None if reach is None else reach[:, None, None]):
            if limit is not None:
                old = old & (position[..., None] - held[:, None] < limit)
                new = new & (place[..., None] - place[..., None, :] < limit)
        read, spoilt = _attend(query, keys, values, torch.cat([old, new], 2))

        ends = time if real is None else real.sum(1, keepdim=True)
        final = since[:, -1:] if time else torch.full_like(count, -1)
        total = torch.where(final < 0, count + ends, ends - final)
        slots = capacity if self.window is not None else capacity + time
        wanted = _held(total, slots)
        # A position is new from the first of its segment that was read here.
        first = torch.where(final < 0, count, 0)
        source = torch.where(
            wanted < first,
            wanted % max(capacity, 1),
            capacity + wanted - torch.where(final < 0, count, -final),
        )
        empty = (wanted < 0)[..., None, None]
        source = torch.where(wanted < 0, 0, source)[..., None, None].expand(-1, -1, *keys.shape[2:])
        after = AttentionState(
            torch.where(empty, 0, keys.gather(1, source)),
            torch.where(empty, 0, values.gather(1, source)),
            total[:, 0],
        )
        return read, spoilt, after

    def state_size(self, time: int) -> int:
        """Return two numbers a feature and position kept, and the count."""
        return 2 * self.dim * (time if self.window is None else self.window) + 1

    @classmethod
    def example(cls) -> "Attention":
        """Return a small instance."""
        return cls(dim=4, heads=2)


def _held(count: Int[Tensor, "batch 1"], capacity: int) -> Int[Tensor, "batch capacity"]:
    """Return the position in each slot, negative in an empty one."""
    slot = torch.arange(capacity, device=count.device)
    return count - 1 - (count - 1 - slot) % max(capacity, 1)


def _attend(
    query: Float[Tensor, "batch time heads key"],
    keys: Float[Tensor, "batch slots heads key"],
    values: Float[Tensor, "batch slots heads key"],
    visible: Bool[Tensor, "batch time slots"],
) -> tuple[Float[Tensor, "batch time heads key"], Bool[Tensor, "batch time"]]:
    """Return what each query reads of the slots that it sees, and where it sees a NaN."""
    # A weight of zero does not hide a NaN from a product, nor from a gradient. So none goes in, and
    # the queries that see one are marked; a query after a reset sees none from before.
    sound = (keys.isfinite() & values.isfinite()).flatten(2).all(-1)
    asked = query.isfinite().flatten(2).all(-1)
    spoilt = ~asked | (visible & ~sound[:, None]).any(-1)
    query = torch.where(asked[..., None, None], query, 0)
    keys, values = (torch.where(sound[..., None, None], part, 0) for part in (keys, values))

    def kernel(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return scaled_dot_product_attention(query, keys, values, attn_mask=visible[:, None])

    def definition(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        scores = query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5
        return scores.where(visible[:, None], -torch.inf).softmax(-1) @ values

    parts = [part.transpose(1, 2) for part in (query, keys, values)]
    if backends.transformed():
        read = definition(*parts)
    elif torch.compiler.is_compiling():
        read = kernel(*parts)
    else:
        # Measured on two cores at (16, 256, 4, 64), forward and backward: 66 ms, the definition 87;
        # at (4, 1024, 4, 64) 216 and 482. But it has no second derivative.
        read = differentiable_again(kernel, definition, *parts)
    return read.transpose(1, 2), spoilt
