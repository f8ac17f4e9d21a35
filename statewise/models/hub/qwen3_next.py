"""Qwen3-Next: gated delta rules and gated attention, with mixtures of experts."""

from typing import Any

from statewise.models.hub.family import (
    SHARES,
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

NEEDED: Fields = {"hidden_act": "silu"}
"""Options of which our mixers have one value, which is also the library's own default."""


class Qwen3Next(Family):
    """Qwen3-Next, without the layers that guess several tokens ahead."""

    kind, architecture = "qwen3_next", "Qwen3NextForCausalLM"
    unread = ("mtp.",)

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`."""
        refuse_others(given, NEEDED)
        dim, depth = given["hidden_size"], given["num_hidden_layers"]
        epsilon = given.get("rms_norm_eps", 1e-6)
        heads = given.get("linear_num_value_heads", 32)
        key_heads = given.get("linear_num_key_heads", 16)
        bias = given.get("attention_bias", False)
        experts = given.get("num_experts", 512)
        mixers = {
            "linear_attention": {
                "name": "gated_delta_net",
                "heads": heads,
                "key_heads": key_heads,
                "key": key_heads * given.get("linear_key_head_dim", 128),
                "value": heads * given.get("linear_value_head_dim", 128),
                "width": given.get("linear_conv_kernel_dim", 4),
                "epsilon": epsilon,
            },
            "full_attention": {
                "name": "attention",
                "heads": given.get("num_attention_heads", 16),
                "key_heads": given.get("num_key_value_heads", 2),
                "head": given.get("head_dim", 256),
                **rotary(given, share=0.25),
                "gate": True,
                "epsilon": epsilon,
                "bias": bias,
                "output_bias": bias,
            },
        }
        sparse = {
            "name": "mixture",
            "experts": experts,
            "chosen": given.get("num_experts_per_tok", 10),
            "expansion": given.get("moe_intermediate_size", 512) / dim,
            "normalized": given.get("norm_topk_prob", True),
            "shared_expansion": given.get("shared_expert_intermediate_size", 512) / dim,
        }
        dense = {
            "name": "gated_feed_forward",
            "expansion": given.get("intermediate_size", 5632) / dim,
        }
        every, alone = given.get("decoder_sparse_step", 1), given.get("mlp_only_layers") or ()
        layers = []
        for place, kind in enumerate(_kinds(given, depth)):
            mixed = experts > 0 and place not in alone and (place + 1) % every == 0
            layers.append({"branches": [mixers[kind], sparse if mixed else dense]})
        return {
            "vocab": given["vocab_size"],
            "dim": dim,
            "depth": depth,
            "mixer": repeated(layers),
            "tie": given.get("tie_word_embeddings", False),
            "norm": "zero_centered_rms",
            "norm_epsilon": epsilon,
        }

    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return their configuration."""
        dim = config["dim"]
        kinds = {"gated_delta_net": "linear_attention", "attention": "full_attention"}
        first: dict[str, Any] = {}
        for layer in layers:
            if (
                len(layer) != 2
                or layer[0]["name"] not in kinds
                or layer[1]["name"] not in ("mixture", "gated_feed_forward")
            ):
                raise ValueError(
                    "its layers are {branches: [gated_delta_net or attention, mixture or "
                    "gated_feed_forward]}"
                )
            for branch in layer:
                first.setdefault(branch["name"], branch)
        said: dict[str, Any] = {
            "rms_norm_eps": config["norm_epsilon"],
            "tie_word_embeddings": config["tie"],
            "layer_types": [kinds[layer[0]["name"]] for layer in layers],
            "decoder_sparse_step": 1,
            "mlp_only_layers": [i for i, (_, b) in enumerate(layers) if b["name"] != "mixture"],
            **NEEDED,
        }
        if "gated_delta_net" in first:
            block = first["gated_delta_net"]
            key, value = _sizes(block, dim)
            key_heads = block["key_heads"] or block["heads"]
            said |= {
                "linear_num_value_heads": block["heads"],
                "linear_num_key_heads": key_heads,
                "linear_key_head_dim": key // key_heads,
                "linear_value_head_dim": value // block["heads"],
                "linear_conv_kernel_dim": block["width"],
            }
        if "attention" in first:
            block = first["attention"]
            said |= {
                "num_attention_heads": block["heads"],
                "num_key_value_heads": block["key_heads"] or block["heads"],
                "head_dim": block["head"] or dim // block["heads"],
                "attention_bias": block["bias"],
                **rotary_said(block),
            }
        if "mixture" in first:
            block = first["mixture"]
            said |= {
                "num_experts": block["experts"],
                "num_experts_per_tok": block["chosen"],
                "moe_intermediate_size": round(block["expansion"] * dim),
                "shared_expert_intermediate_size": round((block["shared_expansion"] or 0) * dim),
                "norm_topk_prob": block["normalized"],
            }
        if "gated_feed_forward" in first:
            said["intermediate_size"] = round(first["gated_feed_forward"]["expansion"] * dim)
        return said

    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight."""
        dim = config["dim"]
        yield "model.embed_tokens.weight", whole("embedding.weight")
        for place, (mixer, around) in enumerate(layers_of(config)):
            theirs, ours = f"model.layers.{place}", f"stack.parts.{place}"
            yield f"{theirs}.input_layernorm.weight", whole(f"{ours}.norms.0.weight")
            yield f"{theirs}.post_attention_layernorm.weight", whole(f"{ours}.norms.1.weight")
            if mixer["name"] == "attention":
                yield from attention(f"{theirs}.self_attn", f"{ours}.parts.0", mixer, dim)
            else:
                yield from _delta(f"{theirs}.linear_attn", f"{ours}.parts.0", mixer, dim)
            hidden = round(around["expansion"] * dim)
            if around["name"] == "mixture":
                yield from _mixture(f"{theirs}.mlp", f"{ours}.parts.1", around, dim)
            else:
                yield from feed_forward(f"{theirs}.mlp", f"{ours}.parts.1", hidden)
        yield "model.norm.weight", whole("stack.norm.weight")
        if not config["tie"]:
            yield "lm_head.weight", whole("head.weight")


def _kinds(given: Fields, depth: int) -> list[str]:
    """Return the kind of each layer."""
    if given.get("layer_types"):
        return list(given["layer_types"])
    every = given.get("full_attention_interval", 4)
    return ["linear_attention" if (i + 1) % every else "full_attention" for i in range(depth)]


def _sizes(options: Fields, dim: int) -> tuple[int, int]:
    """Return the features of all keys and of all values of a gated delta rule."""
    keys = 3 * dim // 4 if options["key"] is None else options["key"]
    return keys, 2 * keys if options["value"] is None else options["value"]


def _delta(theirs: str, ours: str, options: Fields, dim: int) -> Places:
    """Yield the weights of a gated delta rule, whose maps are grouped by the heads of keys."""
    heads, groups = options["heads"], options["key_heads"] or options["heads"]
    keys, values = _sizes(options, dim)
    key, value, served = keys // groups, values // groups, heads // groups
    maps, gate = f"{ours}.query_key_value.weight", f"{ours}.gate.0.weight"
    runs = []
    for i in range(groups):
        runs += [
            (maps, slice(i * key, (i + 1) * key)),
            (maps, slice(keys + i * key, keys + (i + 1) * key)),
            (maps, slice(2 * keys + i * value, 2 * keys + (i + 1) * value)),
            (gate, slice(i * value, (i + 1) * value)),
        ]
    yield f"{theirs}.in_proj_qkvz.weight", Place(tuple(runs))
    names = (f"{ours}.beta.weight", f"{ours}.log_decay.project.weight")
    starts = range(0, heads, served)
    runs = [(name, slice(i, i + served)) for i in starts for name in names]
    yield f"{theirs}.in_proj_ba.weight", Place(tuple(runs))
    taps = whole(f"{ours}.taps", (2 * keys + values, 1, options["width"]))
    yield f"{theirs}.conv1d.weight", taps
    yield f"{theirs}.A_log", whole(f"{ours}.log_decay.log_rate")
    yield f"{theirs}.dt_bias", whole(f"{ours}.log_decay.bias")
    yield f"{theirs}.norm.weight", whole(f"{ours}.norm.weight")
    yield f"{theirs}.out_proj.weight", whole(f"{ours}.output.weight")


def _mixture(theirs: str, ours: str, options: Fields, dim: int) -> Places:
    """Yield the weights of a mixture of experts."""
    hidden, shared = (round(options[name] * dim) for name in SHARES)
    yield f"{theirs}.gate.weight", whole(f"{ours}.router.weight")
    for e in range(options["experts"]):
        expert, start = f"{theirs}.experts.{e}", 2 * e * hidden
        gate, up = (start, start + hidden), (start + hidden, start + 2 * hidden)
        wide, narrow = (hidden, dim), (dim, hidden)
        yield f"{expert}.gate_proj.weight", rows(f"{ours}.widen", gate, shape=wide)
        yield f"{expert}.up_proj.weight", rows(f"{ours}.widen", up, shape=wide)
        down = rows(f"{ours}.narrow", (e * dim, (e + 1) * dim), shape=narrow)
        yield f"{expert}.down_proj.weight", down
    yield from feed_forward(f"{theirs}.shared_expert", f"{ours}.shared", shared)
    yield f"{theirs}.shared_expert_gate.weight", whole(f"{ours}.shared_gate.weight")
