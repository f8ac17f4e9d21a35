"""The convolutions written as their definitions: loops. Every other backend must agree."""

import torch
from jaxtyping import Bool, Float, Inexact, Int
from torch import Tensor


def short_convolution(
    x: Float[Tensor, "batch time dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None = None,
    *,
    initial: Float[Tensor, "batch past dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return the output at every time, and the last width - 1 inputs."""
    past, outputs = initial, []
    for t in range(x.shape[1]):
        before, now = past, x[:, t]
        if reset is not None:
            before = torch.where(reset[:, t, None, None], 0, before)
        if lengths is None:
            output, past = step(now, weight, bias, before)
        else:
            # The inputs are replaced, not only the result: a NaN in the padding would otherwise
            # reach the gradient as 0 * NaN.
            real = (t < lengths)[:, None]
            before = torch.where(real[..., None], before, 0)
            output, after = step(torch.where(real, now, 0), weight, bias, before)
            output = torch.where(real, output, 0)
            past = torch.where(real[..., None], after, past)
        outputs.append(output)
    output = torch.stack(outputs, 1) if outputs else torch.zeros_like(x)
    return output, past.clone()


def step(
    x: Float[Tensor, "batch dim"],
    weight: Float[Tensor, "dim width"],
    bias: Float[Tensor, " dim"] | None,
    past: Float[Tensor, "batch past dim"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch past dim"]]:
    """Return one output, and the last width - 1 inputs."""
    seen = torch.cat([past, x[:, None]], 1)
    output = (seen * weight.t()).sum(1)
    return output if bias is None else output + bias, seen[:, 1:].clone()


def long_convolution(
    x: Float[Tensor, "batch time dim"],
    kernel: Float[Tensor, "dim length"],
    *,
    initial: Float[Tensor, "batch past dim"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch past dim"]]:
    """Return the output at every time, and the last length - 1 inputs."""
    return short_convolution(x, kernel.flip(1), initial=initial, reset=reset, lengths=lengths)


def diagonal_convolution(
    x: Inexact[Tensor, "batch time dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    *,
    initial: Inexact[Tensor, "batch dim state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Inexact[Tensor, "batch time dim"], Inexact[Tensor, "batch dim state"]]:
    """Return the sum of read * h at every time, and the last h."""
    h, outputs = initial, []
    for t in range(x.shape[1]):
        before, now = h, x[:, t]
        if reset is not None:
            before = torch.where(reset[:, t, None, None], 0, before)
        if lengths is None:
            output, h = diagonal_step(now, decay, write, read, before)
        else:
            real = (t < lengths)[:, None]
            before = torch.where(real[..., None], before, 0)
            output, after = diagonal_step(torch.where(real, now, 0), decay, write, read, before)
            output = torch.where(real, output, 0)
            h = torch.where(real[..., None], after, h)
        outputs.append(output)
    return torch.stack(outputs, 1) if outputs else torch.zeros_like(x), h.clone()


def diagonal_step(
    x: Inexact[Tensor, "batch dim"],
    decay: Inexact[Tensor, "dim state"],
    write: Inexact[Tensor, "dim state"],
    read: Inexact[Tensor, "dim state"],
    h: Inexact[Tensor, "batch dim state"],
) -> tuple[Inexact[Tensor, "batch dim"], Inexact[Tensor, "batch dim state"]]:
    """Return one output and the next h."""
    h = torch.addcmul(write * x[..., None], decay, h)
    output = (read * h).sum(-1)
    return output if x.is_complex() or not output.is_complex() else output.real, h


def dense_convolution(
    x: Float[Tensor, "batch time dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    *,
    initial: Float[Tensor, "batch dim n"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim n"]]:
    """Return the product of read and h at every time, and the last h."""
    h, outputs = initial, []
    for t in range(x.shape[1]):
        before, now = h, x[:, t]
        if reset is not None:
            before = torch.where(reset[:, t, None, None], 0, before)
        real = None if lengths is None else (t < lengths)[:, None]
        if real is not None:
            before, now = torch.where(real[..., None], before, 0), torch.where(real, now, 0)
        output, after = dense_step(now, transition, write, read, before)
        outputs.append(output if real is None else torch.where(real, output, 0))
        h = after if real is None else torch.where(real[..., None], after, h)
    return torch.stack(outputs, 1) if outputs else torch.zeros_like(x), h.clone()


def dense_step(
    x: Float[Tensor, "batch dim"],
    transition: Float[Tensor, "dim n n"],
    write: Float[Tensor, "dim n"],
    read: Float[Tensor, "dim n"],
    h: Float[Tensor, "batch dim n"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim n"]]:
    """Return one output and the next h."""
    # Not `transition @ h[..., None]`, which would copy the transition for each row.
    h = write * x[..., None] + (transition @ h.permute(1, 2, 0)).permute(2, 0, 1)
    return (read * h).sum(-1), h
