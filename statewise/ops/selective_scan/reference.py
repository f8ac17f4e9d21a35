"""The selective scan written as its definition, one loop, with which every backend must agree."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import silu, softplus


def selective_scan(
    x: Float[Tensor, "batch time dim"],
    step_size: Float[Tensor, "batch time dim"],
    A: Float[Tensor, "dim state"],
    B: Float[Tensor, "batch time groups state"],
    C: Float[Tensor, "batch time groups state"],
    *,
    skip: Float[Tensor, " dim"] | None = None,
    gate: Float[Tensor, "batch time dim"] | None = None,
    step_bias: Float[Tensor, " dim"] | None = None,
    initial: Float[Tensor, "batch dim state"],
    reset: Bool[Tensor, "batch time"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
) -> tuple[Float[Tensor, "batch time dim"], Float[Tensor, "batch dim state"]]:
    """Return every y_t and the last h."""
    work, each = initial.dtype, x.shape[2] // B.shape[2]
    h, outputs = initial, []
    for t in range(x.shape[1]):
        real = None if lengths is None else t < lengths
        u, step, b, c = (_at(v, t, real, work) for v in (x, step_size, B, C))
        if step_bias is not None:
            step = softplus(step + step_bias, threshold=40.0)
        b, c = (v.repeat_interleave(each, 1) for v in (b, c))  # one row for each channel
        before = h
        if reset is not None:
            before = torch.where(reset[:, t, None, None], 0, before)
        if real is not None:
            before = torch.where(real[:, None, None], before, 0)
        now = (step[..., None] * A).exp() * before + (step * u)[..., None] * b
        y = (now * c).sum(-1)
        if skip is not None:
            y = y + skip * u
        if gate is not None:
            y = y * silu(_at(gate, t, real, work))
        if real is None:
            h = now
        else:
            h, y = torch.where(real[:, None, None], now, h), torch.where(real[:, None], y, 0)
        outputs.append(y)
    output = torch.stack(outputs, 1) if outputs else torch.zeros_like(x)
    return output.to(x.dtype), h.clone()


def _at(v: Tensor, t: int, real: Tensor | None, work: torch.dtype) -> Tensor:
    """Return an input at one time, zero where it is padding.

    A NaN there would otherwise reach the gradient as 0 * NaN.
    """
    now = v[:, t]
    if real is not None:
        now = torch.where(real.view(-1, *[1] * (now.ndim - 1)), now, 0)
    return now.to(work)
