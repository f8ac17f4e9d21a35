"""What `native_op` adds to its kernels, on kernels of two lines."""

import pytest
import torch

from statewise.ops.custom import fresh, native_op
from tests.ops.agreement import assert_checkpoints


def _forward(inputs, outputs):
    x, y, scale, _ = inputs
    outputs[0].copy_(x * scale if y is None else x * y * scale)
    outputs[1].copy_(x.sum(0))
    if outputs[2].numel():
        outputs[2].copy_(x)


def _backward(inputs, outputs, grads, gradients):
    _, y, scale, _ = inputs
    torch.mul(grads[0], scale if y is None else y * scale, out=gradients[0]).add_(grads[1])
    if y is None:
        assert gradients[1] is None
    else:
        torch.mul(grads[0], outputs[2] * scale, out=gradients[1])


def _definition(x, y, scale, lengths):
    return x * scale if y is None else x * y * scale, x.sum(0)


def _allocate(inputs, keep):
    x = inputs[0]
    return fresh(x.shape, x), fresh(x.shape[1:], x), fresh(x.shape if keep else (0,), x)


product = native_op(
    "test_product(Tensor x, Tensor? y, float scale, Tensor? lengths)",
    results=2,
    kept=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
)


def example():
    g = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, generator=g, dtype=torch.float64, requires_grad=True) for _ in "xy"]


@pytest.mark.parametrize("both", [True, False])
def test_derivatives_of_every_order(both):
    x, y = example()

    def f(x, y=None):
        return product(x, y, 3.0, None)

    inputs = (x, y) if both else (x,)
    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(f, inputs)
    torch.library.opcheck(product.operator, (x, y if both else None, 3.0, None))


def test_an_input_computed_from_another_is_counted_once():
    x, _ = example()

    def twice(f):
        y = x.sin()
        output, _ = f(x, y, 2.0, None)
        (first,) = torch.autograd.grad((output**2).sum(), x, create_graph=True)
        return torch.autograd.grad((first**2).sum(), x)[0]

    torch.testing.assert_close(twice(product), twice(_definition))


def test_gradients_of_gradients_with_respect_to_both_at_once():
    x, _ = example()
    y = x.sin()

    def both(f):
        output, _ = f(x, y, 2.0, None)
        return torch.autograd.grad((output**2).sum(), (x, y), create_graph=True)

    for ours, theirs in zip(both(product), both(_definition), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("both", [True, False])
def test_a_checkpoint_hands_out_each_saved_tensor_once(both):
    x, y = example()

    def f(x, y=None):
        return product(x.sin(), y, 3.0, None)

    assert_checkpoints(f, (x, y) if both else (x,))


def test_nothing_is_kept_where_nothing_is_differentiated():
    x, y = example()
    seen = []
    op = native_op(
        "test_keeps(Tensor x, Tensor? y, float scale, Tensor? lengths)",
        results=2,
        kept=1,
        allocate=lambda inputs, keep: seen.append(keep) or _allocate(inputs, keep),
        forward=_forward,
        backward=_backward,
        definition=_definition,
    )
    with torch.no_grad():
        assert len(op(x, y, 1.0, None)) == 2
    op(x.detach(), y.detach(), 1.0, None)
    assert seen == [False, False]
    op(x, y, 1.0, None)
    assert seen[-1] is True
