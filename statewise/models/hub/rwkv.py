"""RWKV-4."""

from typing import Any

from statewise.models.hub.family import (
    Family,
    Fields,
    Places,
    refuse_others,
    rows,
    whole,
)

EPSILON = 1e-5
"""Of the last norm, whatever the configuration says of the others."""

TIME = {
    "time_decay": "decay",
    "time_first": "bonus",
    "key.weight": "key.weight",
    "value.weight": "value.weight",
    "receptance.weight": "receptance.weight",
    "output.weight": "output.weight",
}
TIME_MIX = ("receptance", "key", "value")
CHANNEL = {name: name for name in ("key.weight", "value.weight", "receptance.weight")}
CHANNEL_MIX = ("key", "receptance")


class Rwkv(Family):
    """RWKV-4, in training and in inference: hidden states are never rescaled here.

    The library divides them by two every `rescale_every` layers in inference, for half precision;
    a norm then reads them, and only its epsilon sees the difference.
    """

    kind, architecture = "rwkv", "RwkvForCausalLM"

    def fields(self, given: Fields) -> dict[str, Any]:
        """Return the fields of a `LanguageModelConfig`."""
        dim = given["hidden_size"]
        inner = given.get("attention_hidden_size") or dim
        if inner != dim:
            raise ValueError(f"attention_hidden_size = {inner} is not hidden_size = {dim}")
        refuse_others(given, {"layer_norm_epsilon": EPSILON})
        hidden = given.get("intermediate_size") or 4 * dim
        channel = {"name": "rwkv_channel_mixing", "version": 4, "expansion": hidden / dim}
        return {
            "vocab": given["vocab_size"],
            "dim": dim,
            "depth": given["num_hidden_layers"],
            "mixer": {"branches": [{"name": "rwkv4"}, channel]},
            "tie": given.get("tie_word_embeddings", False),
            "norm": "layer",
            "norm_epsilon": EPSILON,
            "norm_bias": True,
            "embedding_norm": True,
        }

    def describe(self, config: Fields, layers: list[list[dict[str, Any]]]) -> dict[str, Any]:
        """Return their configuration."""
        for layer in layers:
            if [branch["name"] for branch in layer] != ["rwkv4", "rwkv_channel_mixing"]:
                raise ValueError("its layers are {branches: [rwkv4, rwkv_channel_mixing]}")
            if layer[1]["expansion"] is None and layer[1]["version"] == 4:
                layer[1]["expansion"] = 4
        return {
            "attention_hidden_size": config["dim"],
            "intermediate_size": round((layers[0][1]["expansion"] or 4) * config["dim"]),
            "layer_norm_epsilon": EPSILON,
            "tie_word_embeddings": config["tie"],
        }

    def places(self, config: Fields, said: Fields) -> Places:
        """Yield every weight."""
        shape = (1, 1, config["dim"])
        yield "rwkv.embeddings.weight", whole("embedding.weight")
        for end in ("weight", "bias"):
            yield f"rwkv.blocks.0.pre_ln.{end}", whole(f"embedding_norm.{end}")
            yield f"rwkv.ln_out.{end}", whole(f"stack.norm.{end}")
        for place in range(config["depth"]):
            theirs, ours = f"rwkv.blocks.{place}", f"stack.parts.{place}"
            for number in (0, 1):
                for end in ("weight", "bias"):
                    yield f"{theirs}.ln{number + 1}.{end}", whole(f"{ours}.norms.{number}.{end}")
            for half, part, names, mixes in (
                ("attention", 0, TIME, TIME_MIX),
                ("feed_forward", 1, CHANNEL, CHANNEL_MIX),
            ):
                for name, our in names.items():
                    yield f"{theirs}.{half}.{name}", whole(f"{ours}.parts.{part}.{our}")
                for row, mix in enumerate(mixes):
                    mu = rows(f"{ours}.parts.{part}.mu", (row, row + 1), shape=shape)
                    yield f"{theirs}.{half}.time_mix_{mix}", mu
        if not config["tie"]:
            yield "head.weight", whole("head.weight")
