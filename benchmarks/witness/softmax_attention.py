"""Softmax attention: Aaren on torch's, and the layers of transformers' Llama with our weights."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.witness.agreement import Agreement, agree, draw
from benchmarks.witness.transplant import transplant
from statewise.mixers import Aaren, Attention, GatedFeedForward


def agreements() -> Iterator[Agreement]:
    """Yield those of torch, then those of transformers."""

    def attend(score: Tensor, value: Tensor, **_: Any):
        score, value = score.mT[..., None], value.transpose(1, 2)
        one = torch.ones_like(score)
        read = scaled_dot_product_attention(one, score, value, is_causal=True, scale=1.0)
        return read.transpose(1, 2), (None, None, None)

    yield transplant(
        "scaled_dot_product_attention",
        "torch",
        Aaren(16),
        {"softmax_scan": attend},
        state=False,
    )
    yield from llama()


def llama() -> Iterator[Agreement]:
    """Yield that of the attention, without and with a window, and of the gated feed-forward."""
    from transformers import LlamaConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.llama import (  # pyright: ignore[reportMissingImports]
        modeling_llama as hub,
    )

    config = LlamaConfig(hidden_size=32, num_attention_heads=4, intermediate_size=64)
    config._attn_implementation = "eager"
    turns = hub.LlamaRotaryEmbedding(config)(draw(1), torch.arange(100)[None])
    age = torch.arange(100)[:, None] - torch.arange(100)
    for window in (None, 16):
        ours, peer = Attention(32, window=window), hub.LlamaAttention(config, 0)
        with torch.no_grad():
            parts = ours.query_key_value.weight.chunk(3)
            for layer, part in zip((peer.q_proj, peer.k_proj, peer.v_proj), parts, strict=True):
                layer.weight.copy_(part)
            peer.o_proj.weight.copy_(ours.output.weight)
        seen = (age >= 0) & (age < (window or 100))
        mask = torch.zeros(100, 100).masked_fill(~seen, -torch.inf)[None, None]

        def theirs(x: Tensor, peer: Any = peer, mask: Tensor = mask) -> Tensor:
            return peer(x, turns, mask)[0]

        def mixed(x: Tensor, ours: Attention = ours) -> Tensor:
            return ours(x)[0]

        what = "LlamaAttention" if window is None else f"LlamaAttention, of a window of {window}"
        yield agree(what, "transformers", mixed, theirs, [draw(2, 100, 32)])

    gated, peer = GatedFeedForward(32, expansion=2), hub.LlamaMLP(config)
    with torch.no_grad():
        gate, value = gated.widen.weight.chunk(2)
        peer.gate_proj.weight.copy_(gate)
        peer.up_proj.weight.copy_(value)
        peer.down_proj.weight.copy_(gated.narrow.weight)
    yield agree("LlamaMLP", "transformers", lambda x: gated(x)[0], peer, [draw(2, 100, 32)])
