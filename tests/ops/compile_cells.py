"""The cells under torch.compile or torch.export, as a program for test_cells.py to run."""

import torch

from statewise.ops import cells
from statewise.ops.cells import reference
from tests.ops.compiling import Program, main

CELLS = (cells.LSTM, cells.GRU, cells.SLSTM, cells.MGU)


def arguments(time):
    g = torch.Generator().manual_seed(0)
    given = [torch.randn(2, time, 3, generator=g)]
    for cell in CELLS:
        rows = 4 * cell.gates
        shapes = [(rows, 3), (rows, 4), (rows,), (rows,)]
        given += [torch.randn(shape, generator=g) / 2 for shape in shapes]
        given += [torch.rand(2, 4, generator=g) for _ in range(cell.leaves)]
    given = [x.requires_grad_() for x in given]
    return *given, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def each(form):
    def f(x, *rest):
        *rest, reset, lengths = rest
        made = []
        for cell in CELLS:
            weights, initial = rest[:4], tuple(rest[4 : 4 + cell.leaves])
            rest = rest[4 + cell.leaves :]
            y, final = form(
                cell, x * 2, cells.Weights(*weights), initial=initial, reset=reset, lengths=lengths
            )
            made += [y.sin(), *final]
        return tuple(made)

    return f


PROGRAM = Program(each(cells.recur), each(reference.recur), arguments)

if __name__ == "__main__":
    main(PROGRAM)
