"""The linear map in C++: products of large matrices, by tiles that fill the registers."""

from jaxtyping import Float
from torch import Tensor, bfloat16, float32

from statewise.ops.custom import fresh, native_op
from statewise.ops.linear.torch import linear as by_torch
from statewise.ops.products import Products

STRETCH = 512
"""Rows whose share of the weight's gradient is added at once: packed, they stay in the cache."""


def linear(
    x: Float[Tensor, "*batch inputs"],
    weight: Float[Tensor, "outputs inputs"],
    bias: Float[Tensor, " outputs"] | None = None,
) -> Float[Tensor, "*batch outputs"]:
    """Return x weight' + bias; bfloat16 is widened for it and the result rounded once."""
    if x.dtype == bfloat16:
        wide = None if bias is None else bias.to(float32)
        return linear(x.to(float32), weight.to(float32), wide).to(bfloat16)
    return _linear(x, weight, bias)[0]


def _matrix(x):
    # Not -1: there may be no features, of which any number of rows would fit.
    return x.reshape(x.shape[:-1].numel(), x.shape[-1])


def _allocate(inputs, keep):
    x, weight, _ = inputs
    return (fresh((*x.shape[:-1], weight.shape[0]), x),)


def _forward(inputs, outputs):
    x, weight, bias = inputs
    Products(x).multiply(_matrix(x), weight.t(), _matrix(outputs[0]), bias=bias)


def _backward(inputs, outputs, grads, gradients):
    x, weight, _ = inputs
    grad_x, grad_weight, grad_bias = gradients
    products, grad = Products(x), _matrix(grads[0])
    if grad_x is not None:
        products.multiply(grad, weight, _matrix(grad_x))
    if grad_weight is not None:
        grad_weight.zero_()
        for left, right in zip(grad.split(STRETCH), _matrix(x).split(STRETCH), strict=True):
            products.multiply(left.t(), right, grad_weight, add=True)
    if grad_bias is not None:
        grad_bias.copy_(grad.sum(0))


def _definition(x, weight, bias):
    return (by_torch(x, weight, bias),)


_linear = native_op(
    "linear(Tensor x, Tensor weight, Tensor? bias)",
    results=1,
    allocate=_allocate,
    forward=_forward,
    backward=_backward,
    definition=_definition,
    skips=True,
)
