r"""Attention: every position reads what it chooses from those before it, which are all kept.

Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762, section 3.2; rotary positions
from Su et al., "RoFormer", 2021, arXiv:2104.09864, section 3.2; the window as in Child et al.,
"Generating Long Sequences with Sparse Transformers", 2019, arXiv:1904.10509, section 4.

    q_t, k_t, v_t = W_qkv x_t                              of each head, (head_dim) each
    q_t, k_t = R_p q_t, R_p k_t                            p the position since the start or a reset
    a_ts = softmax_s(q_t . k_s / sqrt(head_dim))           s <= t, within the window
    y_t = W_out [sum_s a_ts v_s]                           heads side by side

R_p turns each pair of features (j, j + turned / 2) by the angle p / base^(2 j / turned), where the
first `turned` features of a head are all or a share of them (Black et al., "GPT-NeoX-20B", 2022,
arXiv:2204.06745, section 2.1), and is left out without rotary positions.

Further, as options: several heads that read the same keys and values (Ainslie et al., "GQA", 2023,
arXiv:2305.13245, section 2.2); queries and keys that pass a norm before they are turned (Henry et
al., 2020, arXiv:2010.04245; here the RMSNorm of Qwen3-Next); and answers that are multiplied by
sigmoid(W_g x_t) before W_out (Qiu et al., "Gated Attention for Large Language Models", 2025,
arXiv:2505.06708, section 2.2, position G1).

Family   attention
Forms    all positions at once, with a window piece by piece; step
State    keys and values, (batch, capacity, key heads, head_dim) each, in slots: position p is in
         slot p mod capacity, and empty slots are zero; position, (batch,), of the next input,
         counted from the start or a reset. With a window the capacity is the window, a ring;
         without, it grows by one with each input
Cost     O(time dim^2 + time (capacity + time) dim) work in `forward`, with a window
         O(time dim^2 + time window dim); O(dim^2 + capacity dim) in `step`
Differs  One projection to queries, keys, values and gates, without biases if none are asked for;
         no dropout.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from statewise import backends
from statewise.mixers.base import Mixer, state_dtype, within, zeros
from statewise.mixers.parts.linear import Linear
from statewise.mixers.parts.norms import ZeroCenteredRMSNorm
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
        heads: parts of the features that attend apart.
        key_heads: heads of keys and values, each of which as many heads in a row read; `heads` if
            absent.
        head: features of a head; `dim / heads` if absent.
        window: how many positions each one sees, itself included; all, if absent, and then the
            state grows with the sequence.
        rotary: whether queries and keys are turned by their positions; hybrids, whose recurrences
            know the order, may do without.
        rotary_share: how much of a head's features that turns, in (0, 1].
        rotary_base: of the angles; the larger, the slower they turn.
        gate: whether answers are gated by the input.
        epsilon: what the norm of queries and keys adds to the mean square; no norm if absent.
        bias: whether the maps to queries, keys, values and gates add one.
        output_bias: whether the map to the answer does.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int = 4,
        key_heads: int | None = None,
        head: int | None = None,
        window: int | None = None,
        rotary: bool = True,
        rotary_share: float = 1.0,
        rotary_base: float = 10000.0,
        gate: bool = False,
        epsilon: float | None = None,
        bias: bool = False,
        output_bias: bool = False,
    ):
        super().__init__()
        if not 0 < rotary_share <= 1:
            raise ValueError(f"attention: rotary_share = {rotary_share} should be in (0, 1]")
        if head is None and (heads < 1 or dim % heads):
            raise ValueError(f"attention: heads = {heads} should divide dim = {dim}")
        key_heads, head = key_heads or heads, head or dim // heads
        if heads < 1 or key_heads < 1 or heads % key_heads:
            raise ValueError(f"attention: key_heads = {key_heads} should divide heads = {heads}")
        self.turned = int(head * rotary_share) if rotary else 0
        if head < 1 or self.turned % 2 or (rotary and not self.turned):
            raise ValueError(
                f"attention: heads = {heads} of {head} features each turn {self.turned} of them by "
                "their positions, which should be an even number"
            )
        if window is not None and window < 1:
            raise ValueError(f"attention: window = {window} should be at least 1")
        self.dim = self.out = dim
        self.heads, self.key_heads, self.head = heads, key_heads, head
        self.window, self.rotary_base, self.gate = window, rotary_base, gate
        self.widths = [(heads + 2 * key_heads) * head, heads * head if gate else 0]
        self.query_key_value = Linear(dim, sum(self.widths), bias=bias)
        self.query_norm = self.key_norm = None
        if epsilon is not None:
            self.query_norm = ZeroCenteredRMSNorm(head, eps=epsilon)
            self.key_norm = ZeroCenteredRMSNorm(head, eps=epsilon)
        self.output = Linear(heads * head, dim, bias=output_bias)

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AttentionState:
        """Return no position at all, or a window of empty slots."""
        shape = (batch, self.window or 0, self.key_heads, self.head)
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
        projected, gate = self.query_key_value(x).split(self.widths, -1)
        projected = projected.unflatten(-1, (-1, self.head))
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
        read = read.to(projected.dtype).flatten(2)
        y = self.output(gate.sigmoid() * read if self.gate else read)
        y = torch.where(spoilt[..., None], torch.nan, y)
        return y if real is None else torch.where(real[..., None], y, 0), state

    def _read(
        self,
        projected: Float[Tensor, "batch time all_heads key"],
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

        parts = [self.heads, self.key_heads, self.key_heads]
        query, key, value = projected.to(state.keys.dtype).split(parts, 2)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if self.turned:
            rates = rotary_rates(self.turned // 2, query.device, self.rotary_base)
            query, key = (turned(part, position, rates) for part in (query, key))
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
        """Return two numbers a feature of keys and position kept, and the count."""
        return 2 * self.key_heads * self.head * (self.window or time) + 1

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
    keys: Float[Tensor, "batch slots key_heads key"],
    values: Float[Tensor, "batch slots key_heads key"],
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
    if (times := query.shape[2] // keys.shape[2]) > 1:
        keys, values = (part.repeat_interleave(times, 2) for part in (keys, values))

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
