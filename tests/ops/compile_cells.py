"""The cells under torch.compile, as a program for test_cells.py to run."""

import torch

from statewise.ops import cells
from statewise.ops.cells import reference


def whole(form, cell):
    def f(x, w, u, b, c, initial, reset, lengths):
        weights = cells.Weights(w, u, b, c)
        y, final = form(cell, x * 2, weights, initial=initial, reset=reset, lengths=lengths)
        return y.sin(), *final

    return f


def main():
    g = torch.Generator().manual_seed(0)
    for cell in (cells.LSTM, cells.GRU, cells.SLSTM, cells.MGU):
        rows = 4 * cell.gates
        shapes = [(2, 7, 3), (rows, 3), (rows, 4), (rows,), (rows,)]
        given = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
        initial = tuple(torch.rand(2, 4, generator=g) for _ in range(cell.leaves))
        marks = (torch.rand(2, 7, generator=g) < 0.3, torch.tensor([7, 2]))
        found = []
        compiled = torch.compile(whole(cells.recur, cell), fullgraph=True, backend="aot_eager")
        for f in (compiled, whole(reference.recur, cell)):
            y, *final = f(*given, initial, *marks)
            loss = y.square().sum() + sum(leaf.sum() for leaf in final)
            found.append([y, *final, *torch.autograd.grad(loss, given)])
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            torch.testing.assert_close(list(compiled(*given, initial, *marks)), found[0][:-5])


if __name__ == "__main__":
    main()
