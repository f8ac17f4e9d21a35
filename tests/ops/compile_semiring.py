"""The scans of `semiring` under torch.compile, as a program for test_semiring.py to run."""

import torch

from statewise import backends
from statewise.ops import semiring


def everything(log_decay, log_drive, transition, value, reset, lengths):
    marks = {"reset": reset, "lengths": lengths}
    a, _ = semiring.log_scan(log_decay * 2, log_drive, **marks)
    b, _ = semiring.log_matrix_scan(transition, log_drive, **marks)
    (c, pointers), best = semiring.max_matrix_scan(transition, log_drive, **marks)
    d, state = semiring.softmax_scan(log_drive, value, **marks)
    total = a.sin().sum() + b.sin().sum() + c.sin().sum() + d.sin().sum() + state.total.sum()
    return (
        total + best.sum(),
        pointers,
        semiring.best_path(semiring.MaxScan(c, pointers), lengths=lengths),
    )


def main():
    g = torch.Generator().manual_seed(0)
    shapes = (2, 7, 3), (2, 7, 3), (3, 3), (2, 7, 3, 4)
    given = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
    marks = torch.rand(2, 7, generator=g) < 0.3, torch.tensor([7, 2])
    with backends.use("reference"):
        loss, *rest = everything(*given, *marks)
    expected = [loss, *rest, *torch.autograd.grad(loss, given)]
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    loss, *rest = compiled(*given, *marks)
    for a, b in zip([loss, *rest, *torch.autograd.grad(loss, given)], expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":
    main()
