"""Linear attention with a decay, of a head or of each key, on flash-linear-attention's."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive, swapped
from benchmarks.witness.transplant import transplant
from statewise.mixers import GLA, HGRN2, LightNet, Retention, SimpleGLA


def agreements() -> Iterator[Agreement]:
    """Yield one for each mixer and form."""
    retention, simple, gla = (naive(f"{name}/naive") for name in ("retention", "simple_gla", "gla"))

    def parallel(q: Tensor, k: Tensor, v: Tensor, **_: Any):
        return retention.naive_retention(*swapped(q, k, v)).transpose(1, 2), None

    def one_a_head(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(q: Tensor, k: Tensor, v: Tensor, *, log_decay: Tensor, scale: float, **_: Any):
            return form(q, k, v, log_decay, scale=scale, **LAST)

        return call

    def one_a_key(
        q: Tensor, k: Tensor, v: Tensor, *, log_decay: Tensor, scale: float = 1.0, **_: Any
    ):
        q = q * (scale * q.shape[-1] ** 0.5)
        return gla.naive_recurrent_gla(q, k, v, log_decay, **LAST)

    yield transplant(
        "naive_retention",
        PACKAGE,
        Retention(32),
        {"linear_attention": parallel},
        state=False,
        defects=CASTS,
    )
    for form in (simple.naive_recurrent_simple_gla, simple.naive_chunk_simple_gla):
        op = {"linear_attention": one_a_head(form)}
        yield transplant(form.__name__, PACKAGE, SimpleGLA(32), op, defects=CASTS)
    for mixer in (GLA(32), HGRN2(32, key=8, lower_bound=0.25), LightNet(32, key=8)):
        yield transplant(
            "naive_recurrent_gla",
            PACKAGE,
            mixer,
            {"linear_attention": one_a_key},
            defects=f"{CASTS}; divides by sqrt(key), asked or not: taken back",
        )
