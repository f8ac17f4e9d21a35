"""The short convolution written as its definition: one loop. Every other backend must agree."""

import torch
from jaxtyping import Bool, Float, Int
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
