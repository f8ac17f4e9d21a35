"""The linear recurrent unit of LRU-pytorch, with our weights; the gate after it is ours."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import LRU


def agreements() -> Iterator[Agreement]:
    """Yield that of the unit."""
    import LRU_pytorch  # pyright: ignore[reportMissingImports]

    ours = LRU(16, state=24)
    peer = LRU_pytorch.LRU(16, 16, 24)
    with torch.no_grad():
        peer.nu_log.copy_(ours.log_rate)
        peer.theta_log.copy_(ours.log_phase)
        peer.gamma_log.copy_(ours.log_scale)
        peer.B.copy_(torch.complex(*ours.enter.weight.chunk(2)))
        real, imaginary = ours.read.weight.chunk(2, 1)
        peer.C.copy_(torch.complex(real, -imaginary))
        peer.D.copy_(ours.skip.diag())

    def theirs(x: Tensor) -> Tensor:
        return ours.output(peer(x))

    note = "its skip is a matrix, here a diagonal one"
    x = [draw(2, 60, 16)]
    yield agree("LRU", "LRU-pytorch", lambda x: ours(x)[0], theirs, x, defects=note)
