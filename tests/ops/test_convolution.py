"""The short convolution: every backend beside the definition, and beside torch's conv1d."""

import inspect

import pytest
import torch
from torch.nn.functional import conv1d, pad

from statewise import backends
from statewise.ops.convolution import TABLE, short_convolution


def case(time, width, *, masks):
    torch.manual_seed(time)
    tensors = [(3, time, 4), (4, width), (4,), (3, width - 1, 4)]
    x, weight, bias, initial = (torch.randn(shape).double().requires_grad_() for shape in tensors)
    marks = {"reset": None, "lengths": None}
    if masks:
        marks = {"reset": torch.rand(3, time) < 0.3, "lengths": torch.tensor([time, time // 2, 0])}
    return (x, weight, bias, initial), marks


def results(backend, tensors, marks):
    x, weight, bias, initial = tensors
    with backends.use(backend):
        y, final = short_convolution(x, weight, bias, initial=initial, **marks)
    loss = (y.sin() * torch.arange(1, 5)).sum() + (final * torch.arange(2, 6)).cos().sum()
    return y, final, torch.autograd.grad(loss, tensors, materialize_grads=True)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("time", [0, 1, 2, 7])
def test_backends_agree_with_the_definition(time, width, masks):
    expected = results("reference", *case(time, width, masks=masks))
    for row in TABLE:
        found = results(row.backend, *case(time, width, masks=masks))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", [row.backend for row in TABLE])
def test_equals_conv1d(backend):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 9, 3), torch.randn(3, 4), torch.randn(3)
    expected = conv1d(pad(x.transpose(1, 2), (3, 0)), weight[:, None], bias, groups=3)
    with backends.use(backend):
        y, final = short_convolution(x, weight, bias)
    torch.testing.assert_close(y, expected.transpose(1, 2))
    assert torch.equal(final, x[:, -3:])


def test_arguments_that_do_not_fit_are_refused_in_words():
    x, weight = torch.randn(2, 5, 3), torch.randn(3, 4)
    unchecked = inspect.unwrap(short_convolution)  # past the hook that checks shapes in tests
    with pytest.raises(ValueError, match=r"weight \(4, 3\) should be \(dim, width\)"):
        unchecked(x, weight.T)
    with pytest.raises(ValueError, match=r"initial \(2, 4, 3\) should be"):
        unchecked(x, weight, initial=torch.randn(2, 4, 3))
    with pytest.raises(ValueError, match=r"lengths \(3,\) of torch.int64 should be"):
        unchecked(x, weight, lengths=torch.tensor([1, 2, 3]))
