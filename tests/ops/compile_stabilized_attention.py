"""Stabilized linear attention under torch.compile, as a program for its tests to run."""

import sys

import torch
from torch.nn.functional import logsigmoid

from statewise.ops.stabilized_attention import reference, stabilized_linear_attention


def arguments(time):
    g = torch.Generator().manual_seed(0)
    shapes = [(2, time, 2, 4)] * 3 + [(2, time, 2)] * 2 + [(2, 2, 4, 4), (2, 2, 4), (2, 2)]
    tensors = [torch.randn(shape, generator=g).abs().requires_grad_() for shape in shapes]
    return *tensors, torch.rand(2, time, generator=g) < 0.3, torch.tensor([time, 2])


def whole(form):
    def f(query, key, value, log_input, pre, C, n, m, reset, lengths):
        output, state = form(
            query * 0.9,
            key,
            value,
            log_input=log_input,
            log_forget=logsigmoid(pre),
            scale=0.5,
            eps=0.0,
            initial=(C, n, m),
            reset=reset,
            lengths=lengths,
        )
        return output.sin(), *state

    return f


def with_gradients(f, given):
    made = f(*given)
    total = sum(y.square().sum() for y in made)
    return *made, *torch.autograd.grad(total, given[:8])


def agree(left, right):
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


if __name__ == "__main__":
    given = arguments(7)
    expected = with_gradients(whole(reference.stabilized_linear_attention), given)
    compiled = torch.compile(
        whole(stabilized_linear_attention), fullgraph=True, backend=sys.argv[1]
    )
    agree(with_gradients(compiled, given), expected)
    with torch.no_grad():
        agree(compiled(*given), expected[:4])
