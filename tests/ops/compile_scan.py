"""The scan under torch.compile or torch.export, as a program for test_scan.py to run."""

import sys

import torch

from statewise import backends
from statewise.ops.scan import reference, scan


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


def agree(left, right):
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def with_gradients(f, given):
    y, h = f(*given)
    return y, h, *torch.autograd.grad(y.square().sum() + h.sum(), given[:3])


class Module(torch.nn.Module):
    def forward(self, decay, drive, initial, reset, lengths):
        return whole(scan)(decay, drive, initial, reset, lengths)


def compiles(backend):
    given = arguments(7)
    expected = with_gradients(whole(reference.scan), given)
    compiled = torch.compile(whole(scan), fullgraph=True, backend=backend)
    agree(with_gradients(compiled, given), expected)
    with torch.no_grad():
        agree(compiled(*given), expected[:2])


def exports():
    time = torch.export.Dim("time", min=2, max=100)
    given, longer = (tuple(x.detach() for x in arguments(time)) for time in (7, 9))
    shapes = ({1: time}, {1: time}, None, {1: time}, None)
    program = torch.export.export(Module(), given, dynamic_shapes=shapes)
    if backends.core is not None:
        assert "statewise.scan" in str(program.graph), "the export went around the op"
    agree(program.module()(*longer), whole(reference.scan)(*longer))


if __name__ == "__main__":
    how = sys.argv[1]
    exports() if how == "export" else compiles(how)
