"""The selective scan in torch operations: a parallel scan within each chunk of time.

The states of all times, (batch, time, dim, state), are never in memory together: a chunk of them
is made, read and dropped, and made again for the gradient. It runs on any device, under
`torch.func` transforms (which keep every chunk for the gradient), and can be differentiated any
number of times.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import silu, softplus
from torch.utils.checkpoint import checkpoint

from statewise import backends
from statewise.ops.scan.torch import scan as parallel_scan

CHUNK = 32
"""Times whose states exist together: few enough for the caches, enough to share the calls."""


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
    time = x.shape[1]
    if time == 0:
        return torch.zeros_like(x), initial.clone()
    sequences, optional, weights = (x, step_size, B, C), (gate, reset), (A, skip, step_bias)
    again = (
        torch.is_grad_enabled()
        and time > CHUNK
        and not backends.transformed()
        and not torch.compiler.is_compiling()
        and any(
            v is not None and v.requires_grad for v in (*sequences, *optional, *weights, initial)
        )
    )
    outputs, h = [], initial
    for begin in range(0, time, CHUNK):
        end = min(begin + CHUNK, time)
        parts = [v[:, begin:end] for v in sequences]
        others = [None if v is None else v[:, begin:end] for v in optional]
        rest = None if lengths is None else (lengths - begin).clamp(0, end - begin)
        if again:
            y, h = checkpoint(_chunk, parts, others, weights, h, rest, use_reentrant=False)
        else:
            y, h = _chunk(parts, others, weights, h, rest)
        outputs.append(y)
    return torch.cat(outputs, 1), h


def _chunk(
    sequences: Sequence[Tensor],
    optional: Sequence[Tensor | None],
    weights: tuple[Tensor, Tensor | None, Tensor | None],
    h: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return the outputs of some times and the state after them, from the state before."""
    (x, step_size, B, C), (gate, reset), (A, skip, step_bias) = sequences, optional, weights
    time, dtype, work, groups = x.shape[1], x.dtype, h.dtype, B.shape[2]
    real = None
    if lengths is not None:
        # A NaN in the padding would otherwise reach the gradient as 0 * NaN.
        real = (torch.arange(time, device=x.device) < lengths[:, None])[..., None]
        x, step_size = torch.where(real, x, 0), torch.where(real, step_size, 0)
        B, C = torch.where(real[..., None], B, 0), torch.where(real[..., None], C, 0)
        gate = None if gate is None else torch.where(real, gate, 0)
    x, step_size, B, C = (v.to(work) for v in (x, step_size, B, C))
    if step_bias is not None:
        step_size = softplus(step_size + step_bias, threshold=40.0)
    decay = (step_size[..., None] * A).exp()
    drive = (step_size * x).unflatten(2, (groups, -1))[..., None] * B[..., None, :]
    states, final = parallel_scan(
        decay.flatten(2),
        drive.flatten(2),
        initial=h.flatten(1),
        reset=reset,
        lengths=lengths,
    )
    y = (states.view(drive.shape) @ C[..., None]).reshape(x.shape)
    if skip is not None:
        y = y + skip * x
    if gate is not None:
        y = y * silu(gate.to(work))
    if real is not None:
        y = torch.where(real, y, 0)
    return y.to(dtype), final.view(h.shape)
