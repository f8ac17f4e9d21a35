"""The delta rule in chunks of time, as products of matrices, in plain tensor operations.

Within a chunk the steps  u = value - S^T read,  S <- decay S + write u^T  are linear in the state S
that the chunk begins with, so that u solves a triangular system,

    (I + A) u = values - reads S,   A_ij = <read_i decayed back to j, write_j> for j < i

(the WY form of a product of Householder matrices; Yang et al., "Parallelizing Linear Transformers
with the Delta Rule over Sequence Length", 2024, arXiv:2406.06484, section 3). What remains between
chunks is one product with S and one update of it.

Decays between two times are exponentials of a sum over just the times between, never of a
difference of two sums: they stay finite however strong they are, minus infinity included.

It runs on any device and under `torch.func`, and can be differentiated any number of times.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

CHUNK = 16
"""Tokens of a chunk. A decay per key takes memory for 16 numbers a key and token."""


def delta_rule(
    query: Float[Tensor, "batch time heads key"],
    key: Float[Tensor, "batch time heads key"],
    value: Float[Tensor, "batch time heads value"],
    beta: Float[Tensor, "batch time heads"] | None,
    *,
    write: Float[Tensor, "batch time heads key"] | None = None,
    log_decay: Float[Tensor, "batch time heads *key"] | None,
    scale: float,
    initial: Float[Tensor, "batch heads key value"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Return every output and the last state; see `statewise.ops.delta_rule`.

    With `write`, which takes the place of `beta * key`, the key meets the state before its decay:
    u = value - key^T S,  S <- decay S + write u^T.
    """
    time, dtype = query.shape[1], value.dtype
    if time == 0:
        return torch.zeros_like(value), initial.clone()
    given = write is not None
    weights = write if beta is None else beta[..., None]
    gates = query.new_zeros(1, 1, 1, 1) if log_decay is None else log_decay
    gates = (gates if gates.ndim == 4 else gates[..., None]).expand(*query.shape[:3], -1)
    assert weights is not None
    query, key, value, weights, gates = (
        x.to(initial.dtype) for x in (query, key, value, weights, gates)
    )
    real = None
    if lengths is not None:
        real = torch.arange(time, device=lengths.device) < lengths[:, None]
        padding = ~real[..., None, None]
        query, key, value, weights, gates = (
            torch.where(padding, 0, x) for x in (query, key, value, weights, gates)
        )
        reset = None if reset is None else reset & real
    write = weights if given else weights * key
    # What is not a number is taken out, for in a product it would reach times it has nothing to do
    # with, as 0 * NaN; where it belongs it is put back.
    ill, ill_end, (query, key, value, write, gates, initial) = _ill(
        query, key, value, write, gates, initial, reset
    )
    starts = None if reset is None else _chunks(reset[..., None, None])[..., 0]
    if starts is not None:
        gates = torch.where(reset[..., None, None], 0, gates)  # pyright: ignore[reportOptionalSubscript]
    query, key, value, write, gates = (_chunks(x) for x in (query, key, value, write, gates))
    parts = _parts(scale * query, key, value, write, gates, starts, given)
    S, outputs = initial, []
    for reads, queries, writes, end, P, U in zip(*(x.unbind(2) for x in parts), strict=True):
        u = U - reads @ S
        outputs.append(queries @ S + P @ u)
        S = end[..., None] * S + writes.mT @ u
    output = torch.stack(outputs, 2).flatten(2, 3)[:, :, :time].transpose(1, 2)
    output = torch.where(ill[..., None], torch.nan, output)
    S = torch.where(ill_end[..., None, None], torch.nan, S)
    if real is not None:
        output = torch.where(real[..., None, None], output, 0)
    return output.to(dtype).contiguous(), S


def _parts(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    write: Tensor,
    gates: Tensor,
    starts: Tensor | None,
    given: bool,
) -> tuple[Tensor, ...]:
    """Return what every chunk is to the state: (batch, heads, chunks, chunk, ...) each."""
    steps = torch.arange(CHUNK, device=query.device)
    later, onward = steps[:, None] > steps, steps[:, None] >= steps
    # between[i, j] is the decay of the times r with j < r <= i: they are summed on axis -3.
    between = torch.where(later[..., None], gates[..., None, :], 0).cumsum(-3).exp()
    from_start = gates.cumsum(-2).exp()
    seen, seen_start = between, from_start
    if given:  # the key meets the state before its decay
        seen = torch.cat([torch.ones_like(between[..., :1, :, :]), between[..., :-1, :, :]], -3)
        seen_start = torch.cat(
            [torch.ones_like(from_start[..., :1, :]), from_start[..., :-1, :]], -2
        )
    if gates.shape[-1] == 1:
        A, P = (key @ write.mT) * seen[..., 0], (query @ write.mT) * between[..., 0]
    else:
        A = torch.einsum("...ik,...ijk,...jk->...ij", key, seen, write)
        P = torch.einsum("...ik,...ijk,...jk->...ij", query, between, write)
    reads, queries = key * seen_start, query * from_start
    writes, end = write * between[..., -1, :, :], from_start[..., -1, :]
    if starts is not None:
        piece = starts.cumsum(-1)
        same = piece[..., :, None] == piece[..., None, :]
        later, onward = later & same, onward & same
        first, last = (piece == 0)[..., None], (piece == piece[..., -1:])[..., None]
        reads, queries = torch.where(first, reads, 0), torch.where(first, queries, 0)
        writes = torch.where(last, writes, 0)
        end = torch.where(first[..., -1, :], end, 0)
    A, P = torch.where(later, A, 0), torch.where(onward, P, 0)
    eye = torch.eye(CHUNK, dtype=A.dtype, device=A.device)
    both = torch.linalg.solve_triangular(
        eye + A, torch.cat([value, reads], -1), upper=False, unitriangular=True
    )
    U, reads = both.split([value.shape[-1], key.shape[-1]], -1)
    return reads, queries, writes, end, P, U


def _chunks(x: Tensor) -> Tensor:
    """Return (batch, heads, chunks, chunk, dim) of (batch, time, heads, dim), padded with zeros."""
    missing = -x.shape[1] % CHUNK
    x = pad(x, (0, 0, 0, 0, 0, missing)).transpose(1, 2)
    return x.unflatten(2, (x.shape[2] // CHUNK, CHUNK))


def _ill(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    write: Tensor,
    gates: Tensor,
    initial: Tensor,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Return which outputs and final states are not numbers, and inputs cleaned of those."""
    decays = gates.exp()
    bad = ~(_finite(key) & _finite(value) & _finite(write) & _finite(decays))
    bad_initial = ~(initial.isfinite().all(-1).all(-1))
    time = torch.arange(1, query.shape[1] + 1, device=query.device)[:, None]
    last_bad = torch.where(bad, time, 0).cummax(1).values
    if reset is None:
        ill = (last_bad > 0) | bad_initial[:, None]
    else:
        last_reset = torch.where(reset[..., None], time, 0).cummax(1).values
        # Times count from one; the initial state belongs to time zero.
        ill = torch.where(last_bad > 0, last_bad >= last_reset, False) | (
            bad_initial[:, None] & (last_reset == 0)
        )
    healthy = ~bad[..., None]
    cleaned = (
        torch.where(_finite(query)[..., None], query, 0),
        *(torch.where(healthy, x, 0) for x in (key, value, write, gates)),
        torch.where(bad_initial[..., None, None], 0, initial),
    )
    return ill | ~_finite(query), ill[:, -1], cleaned


def _finite(x: Tensor) -> Tensor:
    return x.isfinite().all(-1)
