"""The convolutions under torch.compile or torch.export, as a program for their tests to run."""

import torch

from statewise.ops.convolution import (
    dense_convolution,
    diagonal_convolution,
    long_convolution,
    short_convolution,
)
from tests.ops.compiling import Program, in_reference, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 4), (4, 3), (2, 2, 4), (4, 5), (2, 4, 4), (4, 3), (4, 3), (2, 4, 3)]
    shapes.append((4, 3, 3))
    tensors = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
    return *tensors, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def all_four(x, weight, past, kernel, longer_past, decay, read, state, turn, reset, lengths):
    masks = {"reset": reset, "lengths": lengths}
    y, past = short_convolution(x, weight, initial=past, **masks)
    z, longer_past = long_convolution(y, kernel, initial=longer_past, **masks)
    u, state = diagonal_convolution(z, decay.tanh(), weight, read, initial=state, **masks)
    v, _ = long_convolution(y, kernel, lengths=lengths)
    w, _ = diagonal_convolution(y, decay.tanh(), weight, read)
    a, state = dense_convolution(u, turn.softmax(-1), weight, read, initial=state, **masks)
    b, _ = dense_convolution(y, turn.softmax(-1), weight, read, lengths=lengths)
    return u, v, w, a, b, past, longer_past, state


PROGRAM = Program(all_four, in_reference(all_four), arguments)

if __name__ == "__main__":
    main(PROGRAM)
