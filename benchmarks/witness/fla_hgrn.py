"""HGRN, of which the state does not turn, on flash-linear-attention's loop."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.fla import CASTS, LAST, PACKAGE, naive
from benchmarks.witness.transplant import transplant
from statewise.mixers import HGRN


def agreements() -> Iterator[Agreement]:
    """Yield that of the loop, whose decays are logarithms."""
    hgrn = naive("hgrn/naive")

    def loop(decay: Tensor, drive: Tensor, **_: Any):
        return hgrn.naive_recurrent_hgrn(drive, decay.log(), **LAST)

    yield transplant(
        "naive_recurrent_hgrn",
        PACKAGE,
        HGRN(32, bound=0.25, complex=False),
        {"scan": loop},
        defects=f"{CASTS}; its form in chunks fails unless there is but one: left out",
    )
