"""The time and channel mixing of rwkv7-hf, with our weights."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import RWKV7, RWKVChannelMixing
from statewise.mixers.parts.rwkv import awake


def agreements() -> Iterator[Agreement]:
    """Yield one for each half of a block, the first of a stack: values are mixed in later ones."""
    import rwkv7_hf as hub  # pyright: ignore[reportMissingImports]

    time = RWKV7(32, heads=4, decay_rank=8, rate_rank=8, gate_rank=8)
    channel = RWKVChannelMixing(32, version=7)
    for mixer in (time, channel):
        awake(mixer)
    config = hub.RWKV7Config(
        hidden_size=32,
        num_heads=4,
        head_dim=8,
        intermediate_size=128,
        decay_low_rank_dim=8,
        a_low_rank_dim=8,
        gate_low_rank_dim=8,
        norm_eps=8e-5,  # a feature of a head, of which there are 64 where it is 1e-5
    )
    attention, feed_forward = hub.RWKV7TimeMix(config, 0), hub.RWKV7ChannelMix(config)
    weights = time.state_dict()
    low_rank = {
        f"{letter}_lora.lora.{place}.weight": weights[f"{way}_{name}.weight"]
        for letter, name in (("w", "decay"), ("a", "rate"), ("g", "gate"))
        for place, way in ((0, "to"), (2, "from"))
    }
    attention.load_state_dict(
        {
            **{f"x_{name}": weights["mu"][i].view(1, 1, -1) for i, name in enumerate("rwkvag")},
            "k_k": weights["removal"],
            "k_a": weights["replacement"],
            "r_k": weights["bonus"].view(4, -1),
            "r_proj.weight": weights["receptance.weight"],
            "k_proj.weight": weights["key.weight"],
            "v_proj.weight": weights["value.weight"],
            "o_proj.weight": weights["output.weight"],
            **low_rank,
            "w_lora.lora.2.bias": weights["decay"],
            "a_lora.lora.2.bias": weights["rate"],
            "g_norm.weight": weights["norm.weight"].flatten(),
            "g_norm.bias": weights["norm.bias"].flatten(),
        }
    )
    feed_forward.load_state_dict(
        {
            "x_k": channel.mu.detach()[0],
            "key.weight": channel.key.weight.detach(),
            "value.weight": channel.value.weight.detach(),
        }
    )
    mask = torch.ones(2, 100, dtype=torch.bool)
    blank = torch.zeros(2, 32)

    def mixed(x: Tensor):
        y, S, last, _ = attention(x, torch.zeros(2, 4, 8, 8), blank, blank, mask)
        return y, S, last

    x = [draw(2, 100, 32)]
    yield agree("RWKV7TimeMix", "rwkv7-hf", time, mixed, x)
    yield agree("RWKV7ChannelMix", "rwkv7-hf", channel, lambda x: feed_forward(x, blank, mask), x)
