"""Jamba's mixture of experts in transformers, with our weights; and the balance of its routing."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import Mixture
from statewise.mixers.mixture import balance


def agreements() -> Iterator[Agreement]:
    """Yield one for the layer, and one for the balance."""
    from transformers import JambaConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.jamba import (  # pyright: ignore[reportMissingImports]
        modeling_jamba as hub,
    )

    torch.manual_seed(0)
    ours = Mixture(16, experts=6, chosen=2, expansion=2.0)
    config = JambaConfig(hidden_size=16, intermediate_size=32, num_experts=6, num_experts_per_tok=2)
    peer = cast(Any, hub.JambaSparseMoeBlock(config))
    with torch.no_grad():
        peer.router.weight.copy_(ours.router.weight)
        peer.experts.gate_up_proj.copy_(ours.widen)
        peer.experts.down_proj.copy_(ours.narrow)
    x = [draw(2, 100, 16)]
    yield agree("JambaSparseMoeBlock", "transformers", lambda x: ours(x)[0], peer, x)

    def theirs(logits: Tensor) -> Tensor:
        return cast(Tensor, hub.load_balancing_loss_func((logits,), 6, 2)) / 2

    note = "counts choices, not their share: its loss is `chosen` times ours"
    yield agree(
        "load_balancing_loss_func",
        "transformers",
        lambda logits: balance(logits, 2),
        theirs,
        [draw(200, 6)],
        defects=note,
    )
