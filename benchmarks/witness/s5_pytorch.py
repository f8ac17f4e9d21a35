"""S5 of s5-pytorch, with our weights; the gate after it is ours."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import S5


def agreements() -> Iterator[Agreement]:
    """Yield that of the state space, with the state that it ends in."""
    import s5  # pyright: ignore[reportMissingImports]

    ours = S5(16, state=24)
    peer: Any = s5.S5(16, 12)
    with torch.no_grad():
        peer.seq.Lambda.copy_(torch.complex(ours.rate, ours.frequency))
        peer.seq.log_step.copy_(ours.log_step.view_as(peer.seq.log_step))
        peer.seq.B.copy_(torch.stack(ours.enter.weight.chunk(2), -1))
        real, imaginary = ours.read.weight.chunk(2, 1)
        peer.seq.C.copy_(2 * torch.complex(real, -imaginary))
        peer.seq.D.copy_(ours.skip)

    def theirs(x: Tensor):
        s, h = peer(x, 1.0, None, True)
        s = gelu(s)
        return s * ours.gate(s).sigmoid(), h

    def mine(x: Tensor):
        y, (h,) = ours(x)
        return y, h

    note = "leaves one of each pair of conjugates out and the 2 with it, which C has here; "
    note += "no bound of its rates"
    yield agree("S5", "s5-pytorch", mine, theirs, [draw(2, 100, 16)], defects=note)
