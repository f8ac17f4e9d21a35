"""Linear attention and Based on flash-linear-attention's references."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive, swapped
from benchmarks.witness.transplant import transplant
from statewise.mixers import Based, LinearAttention
from statewise.mixers.parts import normalized

OP = "normalized_linear_attention"


def agreements() -> Iterator[Agreement]:
    """Yield one for each form; the sums of weights stay far above what theirs adds to them."""
    linear, based = naive("linear_attn/naive"), naive("based/naive")

    def recurrent(q: Tensor, k: Tensor, v: Tensor, **_: Any):
        o, (S, n) = linear.naive_recurrent_linear_attn(q, k, v, scale=1.0, **LAST, normalize=True)
        return o, (S, n[:, 0])

    def chunks(q: Tensor, k: Tensor, v: Tensor, **_: Any):
        return linear.naive_chunk_linear_attn(q, k, v, scale=1.0, normalize=True), (None, None)

    def parallel(q: Tensor, k: Tensor, v: Tensor, **_: Any):
        # Of our features those are the query and the key themselves; theirs makes the others.
        q, k = (x[..., 1:9] for x in (q, k))
        o = based.naive_parallel_based(*swapped(q, k, v), scale=1.0)
        return o.transpose(1, 2), (None, None)

    yield transplant(
        "naive_recurrent_linear_attn",
        PACKAGE,
        LinearAttention(32),
        {OP: recurrent},
        at=normalized,
        defects=CASTS,
    )
    yield transplant(
        "naive_chunk_linear_attn",
        PACKAGE,
        LinearAttention(32),
        {OP: chunks},
        at=normalized,
        time=128,
        state=False,
        defects="takes lengths that 64 divides, returns no state",
    )
    yield transplant(
        "naive_parallel_based",
        PACKAGE,
        Based(32, key=8),
        {OP: parallel},
        at=normalized,
        state=False,
        defects="adds 1e-6 to a divisor that is never below a half",
    )
