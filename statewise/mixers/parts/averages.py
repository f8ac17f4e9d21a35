"""Running means by weights of any size, as a recurrence that forgets: no mixer itself."""

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.mixers.parts.recurrent import Run, shifted
from statewise.ops.semiring import log_scan


def averaging(
    score: Float[Tensor, "batch *time heads width"],
    total: Float[Tensor, "batch heads width"],
    run: Run,
) -> tuple[Tensor, Tensor, Float[Tensor, "batch heads width"]]:
    """Return how much a mean with weights exp(score) adds, the log of what it keeps, and the total.

    With total_t = log(exp(total_{t-1}) + exp(score_t)), that is exp(score_t - total_t) and
    total_{t-1} - total_t. The total is -inf at the start.
    """
    flat = score.flatten(-2)
    each, last = run(log_scan, torch.zeros_like(flat), flat, initial=total.flatten(1))
    before, _ = shifted(each, total.flatten(1), run)
    # After a reset `shifted` gives zero, not -inf; there nothing is left to be kept.
    keep = (before - each).clamp(max=0)
    shape = score.shape[-2:]
    return (
        (flat - each).exp().unflatten(-1, shape),
        keep.unflatten(-1, shape),
        last.unflatten(-1, shape),
    )
