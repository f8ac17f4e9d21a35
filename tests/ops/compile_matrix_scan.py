"""The matrix scan under torch.compile or torch.export, as a program for its tests to run."""

import torch

from statewise.ops.matrix_scan import matrix_scan, reference
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    transition = torch.randn(2, time, 3, 2, 2, generator=g).requires_grad_()
    drive = torch.randn(2, time, 3, 2, generator=g).requires_grad_()
    initial = torch.randn(2, 3, 2, generator=g).requires_grad_()
    reset = torch.rand(2, time, generator=g) < 0.3
    return transition, drive, initial, reset, torch.tensor([time, 2])


def whole(form):
    def f(transition, drive, initial, reset, lengths):
        y, h = form(transition * 0.5, drive, initial=initial, reset=reset, lengths=lengths)
        return y.sin(), h

    return f


PROGRAM = Program(
    whole(matrix_scan),
    whole(reference.matrix_scan),
    arguments,
    lambda time: ({1: time}, {1: time}, None, {1: time}, None),
)

if __name__ == "__main__":
    main(PROGRAM)
