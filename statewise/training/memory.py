"""Memory that is given back to the system at every step costs more than most kernels."""

import ctypes
import functools
import sys

from torch import nn
from torch.utils.checkpoint import checkpoint

from statewise.models.stack import Block

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> bool:
    """Ask the C library to keep freed blocks of up to 1 GiB; return whether it will.

    glibc maps every large block afresh and unmaps it when freed, so each large tensor pays for its
    pages again: a clone of 33 MB took 7.7 ms, and 1.5 ms with this setting (two cores, torch 2.13).
    It holds for the whole process and cannot be undone, so the command line and the training loop
    call it, never an import. Elsewhere than on glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 1 << 30)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def recompute(model: nn.Module) -> None:
    """Let every block of a model keep its inputs alone, and compute the rest again when needed.

    The state that a block was given is kept as its input is, and the state it answers with is not
    computed twice: what is carried to the next step stays as it was.
    """
    for block in model.modules():
        if isinstance(block, Block):
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
