"""Mamba-2's scan in chunks of transformers: linear attention with one decay a head."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.ops.linear_attention import linear_attention


def agreements() -> Iterator[Agreement]:
    """Yield that of the scan, with two groups, a skip and a state to go on from."""
    from transformers.models.mamba2 import (  # pyright: ignore[reportMissingImports]
        modeling_mamba2 as hub,
    )

    given = [
        draw(2, 100, 4, 16),
        draw(2, 100, 4, seed=1),
        torch.rand(4, generator=torch.Generator().manual_seed(2)) + 0.5,
        draw(2, 100, 2, 8, seed=3),
        draw(2, 100, 2, 8, seed=4),
        draw(4, seed=5),
        draw(2, 4, 16, 8, seed=6),
    ]

    def ours(x: Tensor, step: Tensor, rate: Tensor, B: Tensor, C: Tensor, D: Tensor, h: Tensor):
        step = softplus(step)
        y, after = linear_attention(
            C, B, step[..., None] * x, log_decay=-rate * step, initial=h.transpose(2, 3)
        )
        return y + D[:, None] * x, after.transpose(2, 3)

    def theirs(x: Tensor, step: Tensor, rate: Tensor, B: Tensor, C: Tensor, D: Tensor, h: Tensor):
        return hub.mamba2_chunk_scan(
            x, step, -rate, B, C, 32, D, initial_states=h, dt_softplus=True,
            return_final_states=True,
        )  # fmt: skip

    yield agree("mamba2_chunk_scan", "transformers", ours, theirs, given)
