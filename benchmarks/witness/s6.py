"""S6 on the selective scan of transformers."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.transplant import transplant
from statewise.mixers import S6


def agreements() -> Iterator[Agreement]:
    """Yield that of the loop, whose channels come before the time."""
    from transformers.models.mamba import (  # pyright: ignore[reportMissingImports]
        modeling_mamba as hub,
    )

    def loop(x: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, **given: Any):
        x, step, B, C = (v.transpose(1, 2) for v in (x, step, B, C))
        rest = given["skip"], None, given["step_bias"]
        y, h = hub.mamba_selective_scan(x, step, A, B, C, *rest, True, True)
        return y.transpose(1, 2), h

    yield transplant("mamba_selective_scan", "transformers", S6(16), {"selective_scan": loop})
