"""The laws of training: every parameter learns, extremes stay finite, precision may be low."""

import torch

from statewise import state as states
from statewise.testing.agreement import distance, require
from statewise.testing.outcome import weigh
from statewise.testing.subject import Subject


def every_parameter_learns(subject: Subject) -> None:
    """Every parameter has a gradient, finite and not all zero."""
    if not any(parameter.requires_grad for parameter in subject.mixer.parameters()):
        return
    for parameter in subject.mixer.parameters():
        parameter.grad = None
    y, _ = subject(subject.input(3, 20))
    weigh(y).backward()
    for name, parameter in subject.mixer.named_parameters():
        if parameter.requires_grad:
            gradient = parameter.grad
            require(gradient is not None, f"{name} has no gradient")
            assert gradient is not None
            require(bool(gradient.isfinite().all()), f"the gradient of {name} is not finite")
            require(bool(gradient.any()), f"the gradient of {name} is zero")


def extreme_inputs_stay_finite(subject: Subject) -> None:
    """Where gates saturate (pre-activations of 50 and more) answers and gradients stay finite."""
    x = subject.input(5, 63)
    # Up and down for good, at random, in turns, and nothing at all.
    x[0], x[1], x[4] = x[0].abs(), -x[1].abs(), 0
    x[3, ::2], x[3, 1::2] = x[3, ::2].abs(), -x[3, 1::2].abs()
    x = (100 * x).requires_grad_()
    parameters = dict(subject.mixer.named_parameters())
    y, state = subject(x)
    gradients = torch.autograd.grad(
        weigh((y, state)), [x, *parameters.values()], materialize_grads=True
    )
    named = {"the output": y, **{f"leaf {n}": leaf for n, leaf in states.leaves(state).items()}}
    for name, gradient in zip(["the input", *parameters], gradients, strict=True):
        named[f"the gradient by {name}"] = gradient
    for name, tensor in named.items():
        require(bool(tensor.isfinite().all()), f"{name} is not finite")


def bfloat16_is_close(subject: Subject) -> None:
    """In bfloat16 the answers are as close to float32 as roundings of inputs and weights allow."""
    exact, rounded = subject.converted(torch.float32), subject.converted(torch.bfloat16)
    middle = rounded.converted(torch.float32)
    x = subject.input(4, 63).float()
    expected, _ = exact(x)
    found, state = rounded(x.bfloat16())
    require(found.dtype == torch.bfloat16, f"bfloat16 in, {found.dtype} out")
    for name, leaf in states.leaves(state).items():
        narrow = leaf.is_floating_point() and leaf.dtype != torch.float32
        require(not narrow, f"beside bfloat16 inputs, leaf {name} of the state is {leaf.dtype}")
    unavoidable = distance(middle(x.bfloat16().float())[0].bfloat16(), expected)
    error = distance(found, expected)
    require(
        error <= 2 * unavoidable,
        f"the error is {error:.2g}, where rounding inputs, weights and outputs costs "
        f"{unavoidable:.2g}",
    )
