"""What every op asks of `reset` and `lengths`."""

import torch
from torch import Tensor


def check_marks(
    op: str, batch: int, time: int, reset: Tensor | None, lengths: Tensor | None
) -> None:
    """Refuse a `reset` or `lengths` that does not fit a batch, by a ValueError that says why."""
    if reset is not None and (reset.shape != (batch, time) or reset.dtype != torch.bool):
        raise ValueError(
            f"{op}: reset {tuple(reset.shape)} of {reset.dtype} should be boolean and "
            f"(batch, time) = {(batch, time)}"
        )
    if lengths is not None and (lengths.shape != (batch,) or lengths.is_floating_point()):
        raise ValueError(
            f"{op}: lengths {tuple(lengths.shape)} of {lengths.dtype} should be integers and "
            f"(batch,) = {(batch,)}"
        )
