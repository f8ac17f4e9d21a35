"""The selective scan under torch.compile, as a program for test_selective_scan.py to run."""

import sys

import torch

from statewise.ops.selective_scan import reference, selective_scan


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 6), (2, time, 6), (6, 3), (2, time, 1, 3), (2, time, 1, 3)]
    shapes += [(6,), (2, time, 6), (6,), (2, 6, 3)]
    tensors = [torch.randn(shape, generator=g).requires_grad_() for shape in shapes]
    return tensors, (torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2]))


def whole(form):
    def f(tensors, masks):
        x, step_size, A, B, C, skip, gate, step_bias, initial = tensors
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
            reset=masks[0],
            lengths=masks[1],
        )
        return y.sin(), h

    return f


def agree(left, right):
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def with_gradients(f, tensors, masks):
    y, h = f(tensors, masks)
    return y, h, *torch.autograd.grad(y.square().sum() + h.sum(), tensors)


if __name__ == "__main__":
    tensors, masks = arguments(7)
    expected = with_gradients(whole(reference.selective_scan), tensors, masks)
    compiled = torch.compile(whole(selective_scan), fullgraph=True, backend=sys.argv[1])
    agree(with_gradients(compiled, tensors, masks), expected)
    with torch.no_grad():
        agree(compiled(tensors, masks), expected[:2])
