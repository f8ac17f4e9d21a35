"""Kernels that can be differentiated once, made differentiable any number of times."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def differentiable_again(
    kernel: Callable[..., Tensor], definition: Callable[..., Tensor], *inputs: Tensor
) -> Tensor:
    """Return `kernel(*inputs)`, with the derivatives of `definition` beyond the first.

    The two compute the same. A plain backward pass goes through the kernel's own; under
    `create_graph` the definition is run and differentiated in its place.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _DifferentiableAgain.apply(kernel, definition, *inputs)
    return kernel(*inputs)


class _DifferentiableAgain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernel: Callable[..., Tensor],
        definition: Callable[..., Tensor],
        *inputs: Tensor,
    ) -> Tensor:
        ctx.kernel, ctx.definition = kernel, definition
        ctx.save_for_backward(*inputs)
        ctx.graph = _run(kernel, inputs, ctx.needs_input_grad[2:])
        return ctx.graph[1].detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            # Each behind a view: where one input was computed from another, the gradient would
            # otherwise flow on from the one into the other, and be counted twice.
            seen = [tensor.view_as(tensor) for tensor in inputs]
            output = ctx.definition(*seen)
            wanted = [tensor for tensor, needs in zip(seen, needed, strict=True) if needs]
            found = torch.autograd.grad(output, wanted, gradients, create_graph=True)
        else:
            # Dropped after one use, as autograd drops its own: a second pass, under
            # `retain_graph`, runs the kernel again.
            graph, ctx.graph = ctx.graph, None
            copies, output = graph or _run(ctx.kernel, inputs, needed)
            wanted = [copy for copy in copies if copy.requires_grad]
            found = torch.autograd.grad(output, wanted, gradients)
        each = iter(found)
        return None, None, *(next(each) if needs else None for needs in needed)


def _run(
    kernel: Callable[..., Tensor], inputs: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[list[Tensor], Tensor]:
    """Return the kernel's output and copies of its inputs, in a graph of their own."""
    copies = [
        tensor.detach().requires_grad_(needs) for tensor, needs in zip(inputs, needed, strict=True)
    ]
    with torch.enable_grad():
        return copies, kernel(*copies)
