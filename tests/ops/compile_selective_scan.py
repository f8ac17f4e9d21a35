"""The selective scan under torch.compile or torch.export, as a program for its tests to run."""

import torch

from statewise.ops.selective_scan import reference, selective_scan
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 6), (2, time, 6), (6, 3), (2, time, 1, 3), (2, time, 1, 3)]
    shapes += [(6,), (2, time, 6), (6,), (2, 6, 3)]
    tensors = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
    return *tensors, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def whole(form):
    def f(x, step_size, A, B, C, skip, gate, step_bias, initial, reset, lengths):
        y, h = form(
            x,
            step_size,
            -A.exp(),
            B,
            C,
            skip=skip,
            gate=gate,
            step_bias=step_bias,
            initial=initial,
            reset=reset,
            lengths=lengths,
        )
        return y.sin(), h

    return f


def of_time(time):
    long, other = {1: time}, None
    return long, long, other, long, long, other, long, other, other, long, other


PROGRAM = Program(whole(selective_scan), whole(reference.selective_scan), arguments, of_time)

if __name__ == "__main__":
    main(PROGRAM)
