"""Memory that is given back to the system at every step costs more than most kernels."""

import ctypes
import functools
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from statewise.mixers.parts.draws import Draws
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
    computed twice: what is carried to the next step stays as it was. What is drawn at random is the
    same both times.
    """
    for block in model.modules():
        if isinstance(block, Block):
            draws = [part for part in block.modules() if isinstance(part, Draws)]
            same: dict[str, Any] = {"context_fn": functools.partial(_same, draws)} if draws else {}
            block.forward = functools.partial(
                checkpoint, block.forward, use_reentrant=False, **same
            )


def _same(
    draws: list[Draws],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a computation and of its repetition, which draws the same numbers."""
    before = [part.seed.clone() for part in draws]

    @contextmanager
    def again() -> Iterator[None]:
        now = [part.seed.clone() for part in draws]
        for part, seed in zip(draws, before, strict=True):
            part.seed.copy_(seed)
        try:
            yield
        finally:
            for part, seed in zip(draws, now, strict=True):
                part.seed.copy_(seed)

    return nullcontext(), again()
