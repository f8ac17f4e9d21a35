"""The diagonal scan of the RG-LRU in transformers (RecurrentGemma)."""

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.ops.scan import scan


def agreements() -> Iterator[Agreement]:
    """Yield that of the scan, with resets and a state to go on from."""
    from transformers.models.recurrent_gemma import (  # pyright: ignore[reportMissingImports]
        modeling_recurrent_gemma as hub,
    )

    reset = draw(2, 100, seed=3) > 1.5
    given = [draw(2, 100, 12).sigmoid(), draw(2, 100, 12, seed=1), draw(2, 12, seed=2)]

    def ours(decay: Tensor, drive: Tensor, h: Tensor):
        return scan(decay, drive, initial=h, reset=reset)

    def theirs(decay: Tensor, drive: Tensor, h: Tensor):
        rglru = cast(Any, hub.RecurrentGemmaRglru)
        return rglru._rnn_scan(None, drive, decay, reset[..., None], h)

    yield agree("RecurrentGemmaRglru._rnn_scan", "transformers", ours, theirs, given)
