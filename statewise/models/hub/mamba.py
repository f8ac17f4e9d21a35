"""Mamba as the hub's library has it: a stack of Mamba blocks under norms of the root mean square.

backbone.layers.0.norm           stack.parts.0.norms.0
backbone.layers.0.mixer.A_log    stack.parts.0.parts.0.selective.log_rate
"""

from collections.abc import Iterator, Mapping
from typing import Any

BLOCK = {
    "norm.weight": "norms.0.weight",
    "mixer.in_proj.weight": "parts.0.input.weight",
    "mixer.conv1d.weight": "parts.0.convolution.weight",
    "mixer.conv1d.bias": "parts.0.convolution.bias",
    "mixer.x_proj.weight": "parts.0.selective.select.weight",
    "mixer.dt_proj.weight": "parts.0.selective.step_weight",
    "mixer.dt_proj.bias": "parts.0.selective.step_bias",
    "mixer.A_log": "parts.0.selective.log_rate",
    "mixer.D": "parts.0.selective.skip",
    "mixer.out_proj.weight": "parts.0.output.weight",
}

NEEDED = {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True}
"""Options that our block has one value of, and which that is; also the library's own default."""


def fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of our configuration."""
    for name, value in NEEDED.items():
        if given.get(name, value) != value:
            raise ValueError(f"{name} = {given[name]!r} is not {value!r}, which our block has")
    dim, rank = given["hidden_size"], given.get("time_step_rank", "auto")
    mixer = {
        "name": "mamba",
        "expansion": float(given.get("expand", 2)),
        "state": given.get("state_size", 16),
        "width": given.get("conv_kernel", 4),
        "rank": -(-dim // 16) if rank == "auto" else rank,
    }
    return {
        "vocab": given["vocab_size"],
        "dim": dim,
        "depth": given["num_hidden_layers"],
        "mixer": {"branches": [mixer]},
        "tie": given.get("tie_word_embeddings", True),
        "norm": "rms",
        "norm_epsilon": given.get("layer_norm_epsilon", 1e-5),
    }


def describe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return their configuration, and the shapes of weights that differ by an axis."""
    layer = config["mixer"]
    if isinstance(layer, list) and len(layer) == 1:
        (layer,) = layer
    branches = layer.get("branches", []) if isinstance(layer, Mapping) else []
    options = [{"name": branch} if isinstance(branch, str) else branch for branch in branches]
    if len(options) != 1 or options[0].get("name") != "mamba":
        raise ValueError("its layers are {branches: [mamba]} and no others")
    if config["norm"] != "rms":
        raise ValueError(f"its norm is rms, not {config['norm']}")
    (mixer,) = options
    dim, expansion = config["dim"], mixer.get("expansion", 2.0)
    inner = int(expansion * dim)
    if inner % dim:
        raise ValueError(f"its expansion is a whole number, not {expansion:g}")
    rank, width = mixer.get("rank"), mixer.get("width", 4)
    return {
        "architectures": ["MambaForCausalLM"],
        "vocab_size": config["vocab"],
        "hidden_size": dim,
        "num_hidden_layers": config["depth"],
        "state_size": mixer.get("state", 16),
        "expand": inner // dim,
        "conv_kernel": width,
        "time_step_rank": -(-dim // 16) if rank is None else rank,
        "layer_norm_epsilon": config["norm_epsilon"],
        "tie_word_embeddings": config["tie"],
        **NEEDED,
        "shapes": {"conv1d.weight": (inner, 1, width)},
    }


def names(depth: int, tie: bool) -> Iterator[tuple[str, str]]:
    """Yield their name and ours of every weight."""
    yield "backbone.embeddings.weight", "embedding.weight"
    for place in range(depth):
        for theirs, ours in BLOCK.items():
            yield f"backbone.layers.{place}.{theirs}", f"stack.parts.{place}.{ours}"
    yield "backbone.norm_f.weight", "stack.norm.weight"
    if not tie:
        yield "lm_head.weight", "head.weight"
