"""The reference scan of accelerated-scan, under our mixers of diagonal recurrences."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchmarks.witness.agreement import Agreement
from benchmarks.witness.transplant import transplant
from statewise.mixers import HGRN, QRNN, SRU, GateLoop, Longhorn


def agreements() -> Iterator[Agreement]:
    """Yield one for each mixer; the states of HGRN and GateLoop are complex."""
    from accelerated_scan import ref  # pyright: ignore[reportMissingImports]

    def scan(decay: Tensor, drive: Tensor, **_: Any):
        decay, drive = (x.transpose(1, 2).contiguous() for x in (decay, drive))
        y = ref.scan(decay, drive).transpose(1, 2)
        return y, y[:, -1]

    for mixer in (
        HGRN(16, bound=0.25),
        GateLoop(16, heads=4),
        QRNN(16, pooling="ifo"),
        SRU(16, peepholes=False),
        Longhorn(16, state=4),
    ):
        note = "fails at a length of one"
        yield transplant("ref.scan", "accelerated-scan", mixer, {"scan": scan}, defects=note)
