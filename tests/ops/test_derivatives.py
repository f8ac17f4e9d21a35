"""Kernels made differentiable again."""

import pytest
import torch
from torch.autograd.function import once_differentiable

from statewise.ops.derivatives import differentiable_again


class Cube(torch.autograd.Function):
    """x * x * y, differentiable once."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * x * y

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        return 2 * x * y * gradient, x * x * gradient


def again(x, y):
    return differentiable_again(Cube.apply, lambda x, y: x * x * y, x, y)


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]


def test_first_and_second_derivatives(inputs):
    assert torch.autograd.gradcheck(again, inputs)
    assert torch.autograd.gradgradcheck(again, inputs)
    assert not torch.autograd.gradgradcheck(Cube.apply, inputs, raise_exception=False)


def test_an_input_without_gradient(inputs):
    x, y = inputs
    (found,) = torch.autograd.grad(again(x, y.detach()).sum(), x)
    torch.testing.assert_close(found, 2 * x * y)


def test_a_graph_that_is_kept_can_be_used_twice_and_one_that_is_not_cannot(inputs):
    x, y = inputs
    loss = again(x, y).sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, x), first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, x)


def test_an_input_computed_from_another_is_counted_once(inputs):
    x, _ = inputs
    found = []
    for f in (again, lambda x, y: x * x * y):
        (first,) = torch.autograd.grad(f(x, x.sin()).sum(), x, create_graph=True)
        found.append(torch.autograd.grad((first**2).sum(), x)[0])
    torch.testing.assert_close(*found)
