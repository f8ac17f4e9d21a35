"""Mamba's selective scan: the loop of transformers, and mambapy's parallel scan."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.ops.scan import scan
from statewise.ops.selective_scan import selective_scan


def agreements() -> Iterator[Agreement]:
    """Yield one for each form of the selective scan, and one for mambapy's scan by itself."""
    yield from loops()
    yield from parallel()


def loops() -> Iterator[Agreement]:
    """Yield those of transformers, whose channels come before the time."""
    from transformers.models.mamba import (  # pyright: ignore[reportMissingImports]
        modeling_mamba as hub,
    )

    given = [
        draw(2, 100, 12),
        draw(2, 100, 12, seed=1),
        torch.rand(12, 4, generator=torch.Generator().manual_seed(2)) + 0.5,
        draw(2, 100, 4, seed=3),
        draw(2, 100, 4, seed=4),
        draw(12, seed=5),
        draw(2, 100, 12, seed=6),
        draw(12, seed=7),
    ]

    def ours(x: Tensor, step: Tensor, rate: Tensor, B: Tensor, C: Tensor, *rest: Tensor):
        skip, gate, bias = rest
        return selective_scan(
            x, step, -rate, B, C, skip=skip, gate=gate, step_bias=bias
        )  # fmt: skip

    def theirs(parallel: bool) -> Callable[..., Any]:
        def call(x: Tensor, step: Tensor, rate: Tensor, B: Tensor, C: Tensor, *rest: Tensor):
            x, step, B, C, gate = (v.transpose(1, 2) for v in (x, step, B, C, rest[1]))
            y, h = hub.mamba_selective_scan(
                x, step, -rate, B, C, rest[0], gate, rest[2], True, True, use_mambapy=parallel
            )
            return y.transpose(1, 2), h

        return call

    name = "mamba_selective_scan"
    yield agree(f"{name}, the loop", "transformers", ours, theirs(False), given)
    yield agree(f"{name}, with mambapy", "transformers", ours, theirs(True), given)


def parallel() -> Iterator[Agreement]:
    """Yield that of mambapy's scan, at a length that is no power of two."""
    from mambapy.pscan import pscan  # pyright: ignore[reportMissingImports]

    def ours(pre: Tensor, drive: Tensor) -> Tensor:
        return scan(torch.exp(-softplus(pre)), drive)[0]

    def theirs(pre: Tensor, drive: Tensor) -> Tensor:
        return pscan(torch.exp(-softplus(pre))[..., None], drive[..., None])[..., 0]

    yield agree("pscan", "mambapy", ours, theirs, [draw(2, 100, 12), draw(2, 100, 12, seed=1)])
