"""Programs under torch.compile or torch.export, as a program for its tests to run."""

import torch
from torch.nn.functional import linear

from statewise.ops import programs
from statewise.ops.programs import native
from tests.ops.cell_functions import DIM, EXAMPLES, drawn
from tests.ops.compiling import Program, main

EXAMPLE = EXAMPLES["plain"]
PARAMETERS, _, STATE, _ = drawn(EXAMPLE, 2, 1, torch.float32)
TEXT = programs.read(EXAMPLE.cell, PARAMETERS, DIM, STATE, torch.float32).program.text()


def arguments(time):
    parameters, x, (h,), (start,) = drawn(EXAMPLE, 2, time, torch.float32)
    given = (x, h, start, *(parameters[name] for name in "WbU"))
    return tuple(t.requires_grad_() for t in given)


def ours(x, h, start, W, b, U):
    drive = linear(x, W, b)
    y, h = native._programs(drive, U.flatten(), x.new_zeros(0), h, start, None, None, TEXT)
    return y, h


def definition(x, h, start, W, b, U):
    ys = []
    for t in range(x.shape[1]):
        c, g = (linear(x[:, t], W, b) + linear(h, U)).chunk(2, -1)
        g = torch.sigmoid(g)
        h = g * h + (1 - g) * torch.tanh(c)
        ys.append(h)
    # The start of a program without resets is not read.
    return torch.stack(ys, 1) + 0 * start.sum(), h


PROGRAM = Program(ours, definition, arguments)

if __name__ == "__main__":
    main(PROGRAM)
