"""The scan under torch.compile or torch.export, as a program for test_scan.py to run."""

import torch

from statewise.ops.scan import reference, scan
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    decay = torch.rand(2, time, 4, generator=g).requires_grad_()
    drive = torch.randn(2, time, 4, generator=g).requires_grad_()
    initial = torch.randn(2, 4, generator=g).requires_grad_()
    return decay, drive, initial, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def whole(form):
    def f(decay, drive, initial, reset, lengths):
        y, h = form(decay * 0.9, drive, initial=initial, reset=reset, lengths=lengths)
        return y.sin(), h

    return f


PROGRAM = Program(
    whole(scan),
    whole(reference.scan),
    arguments,
    lambda time: ({1: time}, {1: time}, None, {1: time}, None),
)

if __name__ == "__main__":
    main(PROGRAM)
