"""xLSTM, as released with 7B parameters: blocks of mLSTM and a gated feed-forward layer."""

from typing import Any

from statewise.models.hub.family import (
    Family,
    Fields,
    Places,
    factor,
    layers_of,
    refuse_others,
    rows,
    whole,
)
from statewise.models.hub.pieces import feed_forward

# A start of fused weights is an error in the library, so that it can neither make nor load them.
NEEDED: Fields = {"use_bias": False, "add_out_norm": True, "weight_mode": "single"}
"""Options of which our stack has one value, which is also the library's own default."""


class XLSTM(Family):
    """xLSTM.

    The library adds `eps` to the normalizer of a memory, in units that depend on the gates.
    """

    kind, architecture = "xlstm", "xLSTMForCausalLM"

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`."""
        refuse_others(given, NEEDED)
        dim = given.get("hidden_size") or given["embedding_dim"]
        epsilon = given.get("norm_eps", 1e-6)
        # As the library rounds it up.
        multiple = given.get("ffn_round_up_to_multiple_of", 64)
        wanted = dim * given.get("ffn_proj_factor", 2.667)
        hidden = int((wanted + multiple - 1) // multiple * multiple)
        memory = {
            "name": "mlstm",
            "heads": given.get("num_heads", 8),
            "key": int(dim * given.get("qk_dim_factor", 0.5)),
            "value": int(dim * given.get("v_dim_factor", 1.0)),
            "soft_cap": given.get("gate_soft_cap", 15.0),
            "epsilon": epsilon,
        }
        around = {"name": "gated_feed_forward", "expansion": hidden / dim}
        return {
            "vocab": given["vocab_size"],
            "dim": dim,
            "depth": given.get("num_hidden_layers") or given["num_blocks"],
            "mixer": {"branches": [memory, around]},
            # The library has a head of its own whatever it says.
            "tie": False,
            "norm": "rms",
            "norm_epsilon": epsilon,
            "logit_soft_cap": given.get("output_logit_soft_cap", 30.0),
        }

    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return their configuration."""
        memory, *rest = layers[0]
        if memory["name"] != "mlstm" or len(rest) != 1:
            raise ValueError("its layers are {branches: [mlstm, gated_feed_forward]}")
        if memory["soft_cap"] is None or config["logit_soft_cap"] is None:
            raise ValueError("it has a soft_cap of its gates and a logit_soft_cap")
        dim = config["dim"]
        key, value = _sizes(memory, dim)
        return {
            "num_heads": memory["heads"],
            "qk_dim_factor": factor(key, dim),
            "v_dim_factor": factor(value, dim),
            "gate_soft_cap": memory["soft_cap"],
            "output_logit_soft_cap": config["logit_soft_cap"],
            "norm_eps": config["norm_epsilon"],
            "ffn_proj_factor": factor(round(rest[0].get("expansion", 0) * dim), dim),
            "ffn_round_up_to_multiple_of": 1,
            "tie_word_embeddings": False,
            **NEEDED,
        }

    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight."""
        memory, around = layers_of(config)[0]
        heads, key, value = memory["heads"], *_sizes(memory, config["dim"])
        hidden = round(around["expansion"] * config["dim"])
        yield "backbone.embeddings.weight", whole("embedding.weight")
        for place in range(config["depth"]):
            theirs, ours = f"backbone.blocks.{place}", f"stack.parts.{place}"
            layer, mixer = f"{theirs}.mlstm_layer", f"{ours}.parts.0"
            yield f"{theirs}.norm_mlstm.weight", whole(f"{ours}.norms.0.weight")
            yield f"{theirs}.norm_ffn.weight", whole(f"{ours}.norms.1.weight")
            maps, gate = f"{mixer}.query_key_value.map.weight", f"{mixer}.output.gate.weight"
            yield f"{layer}.q.weight", rows(maps, (0, key))
            yield f"{layer}.k.weight", rows(maps, (key, 2 * key))
            yield f"{layer}.v.weight", rows(maps, (2 * key, 2 * key + value))
            yield f"{layer}.ogate_preact.weight", whole(gate)
            for end in ("weight", "bias"):
                gates = f"{mixer}.gates.{end}"
                yield f"{layer}.igate_preact.{end}", rows(gates, (0, heads))
                yield f"{layer}.fgate_preact.{end}", rows(gates, (heads, 2 * heads))
            norm = whole(f"{mixer}.output.norm.weight", (value,))
            yield f"{layer}.multihead_norm.weight", norm
            yield f"{layer}.out_proj.weight", whole(f"{mixer}.output.output.weight")
            names = ("proj_up_gate", "proj_up", "proj_down")
            yield from feed_forward(f"{theirs}.ffn", f"{ours}.parts.1", hidden, names=names)
        yield "backbone.out_norm.weight", whole("stack.norm.weight")
        yield "lm_head.weight", whole("head.weight")


def _sizes(memory: Fields, dim: int) -> list[int]:
    """Return the features of keys and of values."""
    return [dim if memory[name] is None else memory[name] for name in ("key", "value")]
