"""The recurrences of RWKV-5, 6 and 7 on flash-linear-attention's references."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive, swapped
from benchmarks.witness.transplant import transplant
from statewise.mixers import RWKV5, RWKV6, RWKV7
from statewise.mixers.parts import rwkv


def agreements() -> Iterator[Agreement]:
    """Yield one for each mixer, and one more for RWKV-7's chunks."""
    loop, low_rank = naive("rwkv6/recurrent_naive"), naive("generalized_delta_rule/dplr/naive")

    def recurrent(q: Tensor, k: Tensor, v: Tensor, *, log_decay: Tensor, bonus: Tensor, **_: Any):
        o, S = loop.naive_recurrent_rwkv6(*swapped(q, k, v, log_decay), bonus, scale=1.0, **LAST)
        return o.transpose(1, 2), S

    def dplr(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(q: Tensor, *given: Tensor, log_decay: Tensor, **_: Any):
            o, S = form(*swapped(q * q.shape[-1] ** 0.5, *given, log_decay))
            return o.transpose(1, 2), S

        return call

    note = "divides by sqrt(key) unless told; its chunks never do, and have no gradients"
    for mixer in (RWKV5(32, heads=4), RWKV6(32, heads=4)):
        yield transplant(
            "naive_recurrent_rwkv6",
            PACKAGE,
            mixer,
            {"linear_attention": recurrent},
            at=rwkv,
            defects=f"{CASTS}; {note}",
        )
    for form in (low_rank.dplr_recurrence, low_rank.dplr_chunkwise):
        yield transplant(
            form.__name__,
            PACKAGE,
            RWKV7(32, heads=4),
            {"low_rank_delta_rule": dplr(form)},
            time=96,  # chunks of 32, and none is left over
            defects="half of it in float32; divides by sqrt(key), asked or not: taken back",
        )
