"""The Kimi Delta Attention layer of transformers, with our weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import KDA


def agreements() -> Iterator[Agreement]:
    """Yield one for the whole layer."""
    from transformers.models.kimi_linear import (  # pyright: ignore[reportMissingImports]
        modeling_kimi_linear as hub,
    )

    torch.manual_seed(0)
    ours = KDA(64)
    config: Any = SimpleNamespace(
        hidden_size=64,
        linear_num_heads=4,
        linear_head_dim=16,
        linear_conv_kernel_dim=4,
        hidden_act="silu",
        rms_norm_eps=1e-5,
        layer_types=["linear_attention"],
    )
    peer = hub.KimiLinearDeltaAttention(config, 0)
    weights = ours.state_dict()
    weights["gate.1.bias"].zero_()
    q, k, v = weights["query_key_value.weight"].split(ours.widths)
    with torch.no_grad():
        for layer, weight in (
            (peer.q_proj, q),
            (peer.k_proj, k),
            (peer.v_proj, v),
            (peer.conv1d, weights["taps"][:, None]),
            (peer.forget_gate.f_a_proj, weights["log_decay.project.0.weight"]),
            (peer.forget_gate.f_b_proj, weights["log_decay.project.1.weight"]),
            (peer.b_proj, weights["beta.weight"]),
            (peer.g_a_proj, weights["gate.0.weight"]),
            (peer.g_b_proj, weights["gate.1.weight"]),
            (peer.o_norm, weights["norm.weight"]),
            (peer.o_proj, weights["output.weight"]),
        ):
            layer.weight.copy_(weight)
        peer.forget_gate.dt_bias.copy_(weights["log_decay.bias"].flatten())
        peer.forget_gate.A_log.copy_(weights["log_decay.log_rate"][None, None])
    x = [draw(2, 100, 64)]
    note = "no bias in the output's gate; a softplus whose gradient is NaN far above 20"
    yield agree(
        "KimiLinearDeltaAttention", "transformers", lambda x: ours(x)[0], peer, x, defects=note
    )
