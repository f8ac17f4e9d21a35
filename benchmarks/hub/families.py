"""Models of the hub's library with random weights, one for each family, of any size.

Released checkpoints are not downloaded: a model that the library itself makes from a configuration
has the same code, and random weights show as much of a recurrence as trained ones, or more.
"""

from collections.abc import Callable
from typing import Any

from torch import nn


def _mamba(d: int, depth: int) -> dict[str, Any]:
    # Where the optional package mambapy is absent the library takes its plain loop all the same.
    return {"num_hidden_layers": depth, "state_size": 16, "use_mambapy": True}


def _mamba2(d: int, depth: int) -> dict[str, Any]:
    head = d // 4
    return {
        "num_hidden_layers": depth,
        "state_size": min(d, 64),
        "head_dim": head,
        "num_heads": 2 * d // head,
        "n_groups": 2,
        "chunk_size": 64,
    }


def _heads(d: int, depth: int) -> dict[str, Any]:
    """Attention, a feed-forward part, and the state space of Bamba, Falcon-H1 and Granite."""
    return {
        "num_hidden_layers": depth,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 2 * d,
    }


def _mamba_d(d: int) -> dict[str, Any]:
    return {
        "mamba_n_heads": 8,
        "mamba_d_head": d // 4,
        "mamba_d_state": min(d, 64),
        "mamba_n_groups": 2,
        "mamba_chunk_size": 64,
    }


def _linear(d: int) -> dict[str, Any]:
    return {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": d // 4,
        "linear_value_head_dim": d // 4,
    }


def _experts(d: int) -> dict[str, Any]:
    return {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": d,
        "shared_expert_intermediate_size": d,
    }


def _types(depth: int, *, every: int = 4) -> dict[str, Any]:
    """Attention in each fourth layer, and in the last."""
    kinds = ["linear_attention"] * depth
    kinds[every - 1 :: every] = ["full_attention"] * len(kinds[every - 1 :: every])
    kinds[-1] = "full_attention"
    return {"layer_types": kinds}


FAMILIES: dict[str, tuple[str, Callable[[int, int], dict[str, Any]]]] = {
    "mamba": ("Mamba", _mamba),
    "falcon_mamba": ("FalconMamba", _mamba),
    "mamba2": ("Mamba2", _mamba2),
    "rwkv": ("Rwkv", lambda d, depth: {"num_hidden_layers": depth, "context_length": 4096}),
    "recurrent_gemma": (
        "RecurrentGemma",
        lambda d, depth: {
            "num_hidden_layers": depth,
            "num_attention_heads": 4,
            "lru_width": d,
            "intermediate_size": 6 * d,
            "attention_window_size": 2048,
        },
    ),
    "qwen3_next": (
        "Qwen3Next",
        lambda d, depth: {
            **_heads(d, depth), **_linear(d), **_experts(d), **_types(depth), "head_dim": d // 4
        },
    ),
    "jamba": (
        "Jamba",
        lambda d, depth: {
            **_heads(d, depth),
            "attn_layer_period": 4,
            "attn_layer_offset": 1,
            "num_experts": 4,
            "mamba_dt_rank": max(d // 16, 4),
        },
    ),
    "bamba": (
        "Bamba",
        lambda d, depth: {**_heads(d, depth), **_mamba_d(d), "attn_layer_indices": [1]},
    ),
    "zamba2": (
        "Zamba2",
        lambda d, depth: {
            **_heads(d, depth),
            "num_key_value_heads": 4,
            "mamba_d_state": min(d, 64),
            "mamba_ngroups": 2,
            "n_mamba_heads": 8,
            "chunk_size": 64,
            "num_hidden_layers": 1 + 2 * depth,
            "layers_block_type": ["linear_attention"] + ["linear_attention", "hybrid"] * depth,
            "num_mem_blocks": 1,
        },
    ),
    "falcon_h1": (
        "FalconH1",
        lambda d, depth: {**_heads(d, depth), **_mamba_d(d), "mamba_d_ssm": 2 * d},
    ),
    "nemotron_h": (
        "NemotronH",
        lambda d, depth: {
            **_heads(d, depth),
            "head_dim": d // 4,
            "ssm_state_size": min(d, 64),
            "mamba_num_heads": 8,
            "mamba_head_dim": d // 4,
            "n_groups": 2,
            "chunk_size": 64,
            "layers_block_type": ["linear_attention", "mlp", "full_attention"] * (depth // 2),
        },
    ),
    "granitemoehybrid": (
        "GraniteMoeHybrid",
        lambda d, depth: {
            **_heads(d, depth),
            **_mamba_d(d),
            **_types(depth, every=2),
            "num_local_experts": 4,
            "shared_intermediate_size": d,
        },
    ),
    "xlstm": (
        "xLSTM",
        lambda d, depth: {
            "num_hidden_layers": depth,
            "num_blocks": depth,
            "embedding_dim": d,
            "num_heads": 4,
            "chunk_size": 64,
        },
    ),
    "zamba": (
        "Zamba",
        lambda d, depth: {
            **_heads(d, depth),
            "num_key_value_heads": 4,
            "mamba_dt_rank": max(d // 16, 4),
            "num_hidden_layers": 1 + 2 * depth,
            "layers_block_type": ["linear_attention"] + ["linear_attention", "hybrid"] * depth,
        },
    ),
    "qwen3_5": (
        "Qwen3_5",
        lambda d, depth: {
            **_heads(d, depth), **_linear(d), **_types(depth), "head_dim": d // 4
        },
    ),
    "olmo_hybrid": (
        "OlmoHybrid",
        lambda d, depth: {**_heads(d, depth), **_linear(d), **_types(depth)},
    ),
    "kimi_linear": (
        "KimiLinear",
        lambda d, depth: {
            **_heads(d, depth),
            **_types(depth),
            "num_key_value_heads": 4,
            "linear_num_heads": 4,
            "linear_head_dim": d // 4,
            "kv_lora_rank": d // 2,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": d // 4,
            "v_head_dim": d // 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": d,
        },
    ),
    "minimax": (
        "MiniMax",
        lambda d, depth: {**_heads(d, depth), **_types(depth), "num_local_experts": 4},
    ),
}  # fmt: skip
"""Of each family its class in the library, and its options for a width and a depth."""


def build(family: str, *, dim: int, depth: int, vocabulary: int, **options: Any) -> nn.Module:
    """Return a causal language model of a family, with the library's own random weights."""
    import transformers  # pyright: ignore[reportMissingImports]

    name, sizes = FAMILIES[family]
    suffix = "TextConfig" if family == "qwen3_5" else "Config"
    config = getattr(transformers, f"{name}{suffix}")(
        vocab_size=vocabulary,
        hidden_size=dim,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **{**sizes(dim, depth), **options},
    )
    return getattr(transformers, f"{name}ForCausalLM")(config)
