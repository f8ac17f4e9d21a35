"""The time and channel mixing of transformers' RWKV-4, with our weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import RWKV4, RWKVChannelMixing


def agreements() -> Iterator[Agreement]:
    """Yield one for each half of a block."""
    from transformers.models.rwkv import (  # pyright: ignore[reportMissingImports]
        modeling_rwkv as hub,
    )

    config: Any = SimpleNamespace(
        hidden_size=64, attention_hidden_size=64, intermediate_size=256, context_length=128
    )
    given = {"layer": 3, "layers": 12}
    time, channel = RWKV4(64, **given), RWKVChannelMixing(64, version=4, **given)
    torch.manual_seed(0)
    attention, feed_forward = hub.RwkvSelfAttention(config), hub.RwkvFeedForward(config)
    with torch.no_grad():
        # Ours starts with maps at zero; theirs are drawn.
        for ours, peer in ((time, attention), (channel, feed_forward)):
            for name in ("receptance", "key", "value", "output"):
                if (layer := getattr(peer, name, None)) is not None:
                    getattr(ours, name).weight.copy_(layer.weight)
        attention.time_decay.copy_(time.decay)
        attention.time_first.copy_(time.bonus)
        for name, mu in zip(("receptance", "key", "value"), time.mu, strict=True):
            getattr(attention, f"time_mix_{name}").copy_(mu)
        for name, mu in zip(("key", "receptance"), channel.mu, strict=True):
            getattr(feed_forward, f"time_mix_{name}").copy_(mu)
    x = [draw(2, 100, 64)]
    note = "starts with a bonus of 1, where the authors' is log 0.3 and a zigzag"
    yield agree(
        "RwkvSelfAttention",
        "transformers",
        lambda x: time(x)[0],
        lambda x: attention(x)[0],
        x,
        defects=note,
    )
    yield agree(
        "RwkvFeedForward",
        "transformers",
        lambda x: channel(x)[0],
        lambda x: feed_forward(x)[0],
        x,
    )
