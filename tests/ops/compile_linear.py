"""The linear map under torch.compile or torch.export, as a program for its tests to run."""

import torch

from statewise.ops.linear import linear, native, reference
from tests.ops.compiling import Program, main


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 4), (5, 4), (5,), (3, 5)]
    return tuple(torch.randn(shape, generator=g).requires_grad_() for shape in shapes)


def chosen_and_native(x, weight, bias, narrow):
    y = native.linear(linear(x, weight, bias), narrow)
    return y, native.linear(x, weight)


def definition(x, weight, bias, narrow):
    y = reference.linear(reference.linear(x, weight, bias), narrow)
    return y, reference.linear(x, weight)


PROGRAM = Program(chosen_and_native, definition, arguments)

if __name__ == "__main__":
    main(PROGRAM)
