"""Mixers of the delta rule on flash-linear-attention's references."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive, swapped
from benchmarks.witness.transplant import transplant
from statewise.mixers import (
    KDA,
    DeltaNet,
    DeltaProduct,
    FastWeights,
    GatedDeltaNet,
    GatedDeltaProduct,
)
from statewise.mixers.parts import delta


def agreements() -> Iterator[Agreement]:
    """Yield one for each mixer and form."""
    plain, gated, kda, products = (
        naive(f"{name}/naive")
        for name in ("delta_rule", "gated_delta_rule", "kda", "gated_delta_product")
    )

    def ungated(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(q: Tensor, *given: Tensor, scale: float = 1.0, **_: Any):
            o, S = form(*swapped(q * (scale * q.shape[-1] ** 0.5), *given))
            return o.transpose(1, 2), S

        return call

    def decayed(form: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Tensor, log_decay: Tensor, scale: float, **_: Any):
            q, k, v, beta = given
            return form(q, k, v, g=log_decay, beta=beta, scale=scale, **LAST)

        return call

    def product(q: Tensor, *given: Tensor, log_decay: Tensor | None, scale: float, **_: Any):
        steps = given[0].shape[2]
        k, v, beta = (x.flatten(1, 2) for x in given)
        return products.naive_recurrent_gated_delta_product(
            q, k, v, log_decay, beta, scale, num_householder=steps, **LAST
        )

    note = "divides by sqrt(key), asked or not: taken back"
    loop, chunks = plain.delta_rule_recurrence, plain.delta_rule_chunkwise
    for mixer, form, file, defects in (
        (DeltaNet(32), loop, delta, f"{CASTS}; {note}"),
        (DeltaNet(32), chunks, delta, f"takes lengths that 32 divides; {note}"),
        (FastWeights(32), loop, None, f"{CASTS}; {note}"),
    ):
        op = {"delta_rule": ungated(form)}
        yield transplant(form.__name__, PACKAGE, mixer, op, at=file, time=96, defects=defects)
    for mixer, form in (
        (GatedDeltaNet(32), gated.naive_recurrent_gated_delta_rule),
        (GatedDeltaNet(32), gated.naive_chunk_gated_delta_rule),
        (KDA(32), kda.naive_recurrent_kda),
        (KDA(32), kda.naive_chunk_kda),
    ):
        op = {"delta_rule": decayed(form)}
        # KDA's chunks are of 64, and none is left over.
        yield transplant(form.__name__, PACKAGE, mixer, op, at=delta, time=128, defects=CASTS)
    for mixer in (DeltaProduct(32), GatedDeltaProduct(32, steps=3)):
        yield transplant(
            "naive_recurrent_gated_delta_product",
            PACKAGE,
            mixer,
            {"delta_product": product},
            at=delta,
            defects=CASTS,
        )
