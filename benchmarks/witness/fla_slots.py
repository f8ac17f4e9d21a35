"""Attention to slots, gated (GSA) and averaging (ABC), on flash-linear-attention's references."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive, swapped
from benchmarks.witness.transplant import transplant
from statewise.mixers import ABC, GSA


def agreements() -> Iterator[Agreement]:
    """Yield one for each mixer and form."""
    gsa, abc = naive("gsa/naive"), naive("abc/naive")

    def gated(q: Tensor, k: Tensor, v: Tensor, *, write: Tensor, log_decay: Tensor, **_: Any):
        return gsa.naive_recurrent_gsa(q, k, v, write, log_decay, scale=1.0, **LAST)

    def averaged(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(q: Tensor, k: Tensor, v: Tensor, *, write: Tensor, **_: Any):
            return form(*swapped(q, k, v, write))[0].transpose(1, 2), (None, None)

        return call

    def scores(score: Tensor, *_: Any):
        """Return scores as they are: theirs makes the weights of averages itself."""
        return score, None, None

    yield transplant(
        "naive_recurrent_gsa",
        PACKAGE,
        GSA(32, slots=8),
        {"through_slots": gated},
        defects=CASTS,
    )
    for form in (abc.naive_recurrent_abc, abc.naive_cumsum_abc):
        peers = {"averaging": scores, "through_slots": averaged(form)}
        yield transplant(
            form.__name__, PACKAGE, ABC(32, slots=8), peers, state=False, defects=CASTS
        )
