"""The Gated DeltaNet layer of transformers (Qwen3-Next), with our weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import GatedDeltaNet


def agreements() -> Iterator[Agreement]:
    """Yield one for the whole layer."""
    from transformers.models.qwen3_next import (  # pyright: ignore[reportMissingImports]
        modeling_qwen3_next as hub,
    )

    heads, key, value = 4, 12, 24
    torch.manual_seed(0)
    ours = GatedDeltaNet(64, heads=heads, key=heads * key, value=heads * value)
    config: Any = SimpleNamespace(
        hidden_size=64,
        linear_num_value_heads=heads,
        linear_num_key_heads=heads,
        linear_key_head_dim=key,
        linear_value_head_dim=value,
        linear_conv_kernel_dim=4,
        hidden_act="silu",
        rms_norm_eps=1e-5,
        layer_types=["linear_attention"],
    )
    peer = hub.Qwen3NextGatedDeltaNet(config, 0)
    # Theirs keeps the four projections of a head together, and the two of its gates.
    weights = ours.state_dict()
    parts = (*weights["query_key_value.weight"].split(ours.widths), weights["gate.0.weight"])
    qkvz = torch.cat([part.unflatten(0, (heads, -1)) for part in parts], 1)
    ba = torch.stack([weights["beta.weight"], weights["log_decay.project.weight"]], 1)
    with torch.no_grad():
        peer.in_proj_qkvz.weight.copy_(qkvz.flatten(0, 1))
        peer.in_proj_ba.weight.copy_(ba.flatten(0, 1))
        peer.conv1d.weight.copy_(weights["taps"][:, None])
        peer.dt_bias.copy_(weights["log_decay.bias"])
        peer.A_log.copy_(weights["log_decay.log_rate"])
        peer.norm.weight.copy_(weights["norm.weight"])
        peer.out_proj.weight.copy_(weights["output.weight"])
    x = [draw(2, 100, 64)]
    yield agree("Qwen3NextGatedDeltaNet", "transformers", lambda x: ours(x)[0], peer, x)
