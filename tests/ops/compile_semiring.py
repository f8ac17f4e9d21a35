"""The scans of `semiring` under torch.compile or torch.export, as a program for their tests."""

import torch

from statewise.ops import semiring
from tests.ops.compiling import Program, in_reference, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = (2, time, 3), (2, time, 3), (3, 3), (2, time, 3, 4)
    given = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
    return *given, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def everything(log_decay, log_drive, transition, value, reset, lengths):
    marks = {"reset": reset, "lengths": lengths}
    a, _ = semiring.log_scan(log_decay * 2, log_drive, **marks)
    b, _ = semiring.log_matrix_scan(transition, log_drive, **marks)
    (c, pointers), best = semiring.max_matrix_scan(transition, log_drive, **marks)
    d, state = semiring.softmax_scan(log_drive, value, **marks)
    path = semiring.best_path(semiring.MaxScan(c, pointers), lengths=lengths)
    # A start may be -inf, of which torch makes no difference; its exponential is zero.
    return a.exp().sin(), b.sin(), c.sin(), d.sin(), state.total, best.exp(), pointers, path


PROGRAM = Program(everything, in_reference(everything), arguments)

if __name__ == "__main__":
    main(PROGRAM)
