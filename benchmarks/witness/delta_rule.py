"""The gated delta rule of transformers (Qwen3-Next), in chunks and in steps."""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.ops.delta_rule import delta_rule


def agreements() -> Iterator[Agreement]:
    """Yield one for each form."""
    from transformers.models.qwen3_next import (  # pyright: ignore[reportMissingImports]
        modeling_qwen3_next as hub,
    )

    given = [
        draw(2, 100, 3, 16),
        normalize(draw(2, 100, 3, 16, seed=1), dim=-1),
        draw(2, 100, 3, 24, seed=2),
        -draw(2, 100, 3, seed=3).abs(),
        draw(2, 100, 3, seed=4).sigmoid(),
        draw(2, 3, 16, 24, seed=5),
    ]

    def ours(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, start: Tensor):
        return delta_rule(q, k, v, beta, log_decay=decay, scale=16**-0.5, initial=start)

    def chunks(*x: Tensor):
        return hub.torch_chunk_gated_delta_rule(*x[:5], 64, x[5], True)

    def steps(*x: Tensor):
        return hub.torch_recurrent_gated_delta_rule(*x[:5], x[5], True)

    note = "computes in float32 whatever it is given"
    yield agree("torch_chunk_gated_delta_rule", "transformers", ours, chunks, given, defects=note)
    yield agree("torch_recurrent_gated_delta_rule", "transformers", ours, steps, given)
