"""RecurrentGemma: Griffin's recurrent blocks and local attention."""

from typing import Any

import torch

from statewise.models.hub.family import (
    Family,
    Fields,
    Place,
    Places,
    layers_of,
    refuse_others,
    repeated,
    rows,
    whole,
)
from statewise.models.hub.pieces import attention, feed_forward, rotary, rotary_said

NEEDED: Fields = {"hidden_activation": "gelu_pytorch_tanh"}
"""Options of which our mixers have one value, which is also the library's own default."""


class RecurrentGemma(Family):
    """RecurrentGemma."""

    kind, architecture = "recurrent_gemma", "RecurrentGemmaForCausalLM"

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`."""
        refuse_others(given, NEEDED)
        dim, depth = given["hidden_size"], given["num_hidden_layers"]
        heads = given.get("num_attention_heads", 10)
        hidden = given.get("intermediate_size", 7680) // 2
        bias = given.get("attention_bias", False)
        mixers = {
            "recurrent": {
                "name": "hawk",
                "inner": given.get("lru_width") or dim,
                "heads": heads,
                "width": given.get("conv1d_width", 4),
            },
            "attention": {
                "name": "attention",
                "heads": heads,
                "key_heads": given.get("num_key_value_heads") or heads,
                "head": dim // heads,
                "window": given.get("attention_window_size", 2048),
                **rotary(given, share=0.5),
                "bias": bias,
                "output_bias": True,
            },
        }
        around = {
            "name": "gated_feed_forward",
            "expansion": hidden / dim,
            "activation": "gelu_tanh",
            "bias": True,
        }
        kinds = list(given.get("block_types") or ("recurrent", "recurrent", "attention"))
        return {
            "vocab": given["vocab_size"],
            "dim": dim,
            "depth": depth,
            "mixer": [{"branches": [mixers[kind], around]} for kind in kinds[:depth]],
            "tie": given.get("tie_word_embeddings", True),
            "norm": "zero_centered_rms",
            "norm_epsilon": given.get("rms_norm_eps", 1e-6),
            "embedding_multiplier": _normalizer(dim),
            "logit_soft_cap": given.get("logits_soft_cap", 30.0),
        }

    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return their configuration."""
        dim = config["dim"]
        kinds = {"hawk": "recurrent", "attention": "attention"}
        first: dict[str, Any] = {}
        for layer in layers:
            if len(layer) != 2 or layer[0]["name"] not in kinds:
                raise ValueError(
                    "its layers are {branches: [hawk, gated_feed_forward]} or "
                    "{branches: [attention, gated_feed_forward]}"
                )
            first.setdefault(layer[0]["name"], layer[0])
        if config["logit_soft_cap"] is None:
            raise ValueError("it has a logit_soft_cap")
        said: dict[str, Any] = {
            "intermediate_size": 2 * round(layers[0][1].get("expansion", 0) * dim),
            "block_types": repeated([kinds[layer[0]["name"]] for layer in layers]),
            "rms_norm_eps": config["norm_epsilon"],
            "logits_soft_cap": config["logit_soft_cap"],
            "tie_word_embeddings": config["tie"],
            **NEEDED,
        }
        if "hawk" in first:
            block = first["hawk"]
            said |= {
                "num_attention_heads": block["heads"],
                "lru_width": dim if block["inner"] is None else block["inner"],
                "conv1d_width": block["width"],
            }
        if "attention" in first:
            block = first["attention"]
            if block["window"] is None:
                raise ValueError("its attention has a window")
            said |= {
                "num_attention_heads": block["heads"],
                "num_key_value_heads": block["key_heads"] or block["heads"],
                "attention_window_size": block["window"],
                "attention_bias": block["bias"],
                **rotary_said(block),
            }
        return said

    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight."""
        dim, layers = config["dim"], layers_of(config)
        yield "model.embed_tokens.weight", whole("embedding.weight")
        for place, (mixer, around) in enumerate(layers):
            theirs, ours = f"model.layers.{place}", f"stack.parts.{place}"
            yield f"{theirs}.temporal_pre_norm.weight", whole(f"{ours}.norms.0.weight")
            yield f"{theirs}.channel_pre_norm.weight", whole(f"{ours}.norms.1.weight")
            block, part = f"{theirs}.temporal_block", f"{ours}.parts.0"
            if mixer["name"] == "attention":
                yield from attention(block, part, mixer, dim)
            else:
                yield from _recurrent(block, part, mixer, dim)
            hidden = round(around["expansion"] * dim)
            yield from feed_forward(f"{theirs}.mlp_block", f"{ours}.parts.1", hidden, bias=True)
        yield "model.final_norm.weight", whole("stack.norm.weight")
        if not config["tie"]:
            yield "lm_head.weight", whole("head.weight")


def _normalizer(dim: int) -> float:
    """Return the root of dim as the library has it, rounded to bfloat16."""
    return torch.tensor(dim**0.5, dtype=torch.bfloat16).item()


def _recurrent(theirs: str, ours: str, options: Fields, dim: int) -> Places:
    """Yield the weights of a recurrent block."""
    inner = dim if options["inner"] is None else options["inner"]
    heads, width = options["heads"], options["width"]
    maps = {"linear_y": "gate", "linear_x": "input", "linear_out": "output"}
    for name, our in maps.items():
        for end in ("weight", "bias"):
            yield f"{theirs}.{name}.{end}", whole(f"{ours}.{our}.{end}")
    convolution = whole(f"{ours}.convolution.weight", (inner, 1, width))
    yield f"{theirs}.conv_1d.weight", convolution
    yield f"{theirs}.conv_1d.bias", whole(f"{ours}.convolution.bias")
    # Ours is the logit of the decay, theirs minus that.
    rate = Place(((f"{ours}.recurrence.Lambda", slice(None)),), negative=True)
    yield f"{theirs}.rg_lru.recurrent_param", rate
    block = inner // heads
    for number, gate in enumerate(("recurrent_gate", "input_gate")):
        bounds = (number * inner, (number + 1) * inner)
        weight = rows(f"{ours}.recurrence.weight", bounds, shape=(heads, block, block))
        yield f"{theirs}.rg_lru.{gate}_weight", weight
        bias = rows(f"{ours}.recurrence.bias", (number, number + 1), shape=(heads, block))
        yield f"{theirs}.rg_lru.{gate}_bias", bias
