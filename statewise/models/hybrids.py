"""Published patterns of layers, as data: `mixer: {hybrid: griffin}` builds one.

Each entry is the order of the branches and the options that make it what it is: windows, widths,
experts. Sizes that grow with the model (dim, heads, depth) are the user's, and every option may be
given anew: `{hybrid: jamba, mixture: {experts: 4}}`. The stack's own LayerNorms stand where the
papers have RMSNorms.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Layer = Mapping[str, Any]


class Hybrid(NamedTuple):
    """A pattern that is repeated over the depth.

    Args:
        paper: where it is from.
        layers: what it repeats, as `statewise.models.layers` reads it.
        differs: what the paper has and this has not, or what could not be verified.
    """

    paper: str
    layers: tuple[Layer, ...]
    differs: str = ""


def _layer(*branches: Any) -> Layer:
    return {"branches": list(branches)}


_GEGLU = {"name": "gated_feed_forward", "expansion": 3.0, "activation": "gelu"}
_SWIGLU = {"name": "gated_feed_forward", "expansion": 8 / 3}
_WIDE = {"name": "gated_feed_forward", "expansion": 3.5}
_UP = {"name": "gated_feed_forward", "expansion": 4 / 3, "activation": "gelu"}
_PLAIN = {"name": "feed_forward", "expansion": 4.0}


def _window(window: int) -> dict[str, Any]:
    return {"name": "attention", "window": window}


def _experts(
    experts: int, chosen: int, expansion: float, normalized: bool, **further: Any
) -> dict[str, Any]:
    return {
        **further,
        "name": "mixture",
        "experts": experts,
        "chosen": chosen,
        "expansion": expansion,
        "normalized": normalized,
    }


_JAMBA = [
    _layer(
        {"name": "attention", "rotary": False} if place == 4 else "mamba",
        _experts(16, 2, 3.5, False) if place % 2 else _WIDE,
    )
    for place in range(8)
]

_SHARED = (
    {"shared": "attention", "branch": "attention"},
    {"shared": "feed forward", "branch": _PLAIN},
)

HYBRIDS: dict[str, Hybrid] = {
    "hawk": Hybrid(
        "De et al., 2024, arXiv:2402.19427, section 3.1: recurrent blocks alone",
        (_layer("hawk", _GEGLU),),
    ),
    "griffin": Hybrid(
        "De et al., 2024, arXiv:2402.19427, section 3.1: two recurrent blocks to one window",
        (*[_layer("hawk", _GEGLU)] * 2, _layer(_window(1024), _GEGLU)),
        "attention has keys and values for each head, where the paper's heads share one.",
    ),
    "recurrent_gemma": Hybrid(
        "Botev et al., 2024, arXiv:2404.07839: Griffin with a window of 2048",
        (*[_layer("hawk", _GEGLU)] * 2, _layer(_window(2048), _GEGLU)),
        "attention has keys and values for each head; the cap on logits is the model's.",
    ),
    "jamba": Hybrid(
        "Lieber et al., 2024, arXiv:2403.19887, sections 2 and 3.1: one attention in eight layers, "
        "and a mixture of experts in every other one",
        tuple(_JAMBA),
        "no norms stand inside of Mamba.",
    ),
    "samba": Hybrid(
        "Ren et al., 2024, arXiv:2406.07522, section 2.1: Mamba and a sliding window in turns",
        (_layer("mamba", _SWIGLU), _layer(_window(2048), _SWIGLU)),
    ),
    "zamba": Hybrid(
        "Glorioso et al., 2024, arXiv:2405.16712: Mamba, and one attention with its "
        "feed-forward layer that all its places share",
        (*[_layer("mamba")] * 4, _layer(*_SHARED, "mamba"), _layer("mamba")),
        "what is shared reads the residual stream alone, not the embeddings beside it.",
    ),
    "falcon_h1": Hybrid(
        "Zuo et al., 2025, arXiv:2507.22448: attention and Mamba-2 side by side",
        (_layer({"side_by_side": ["attention", "mamba2"], "multipliers": [1.0, 1.0]}, _SWIGLU),),
        "of its multipliers only those of the two answers.",
    ),
    "hymba": Hybrid(
        "Dong et al., 2024, arXiv:2411.13676, section 2.1: attention over a window beside Mamba, "
        "each normed and scaled feature by feature",
        (
            _layer(
                {
                    "side_by_side": [_window(1024), "mamba"],
                    "multipliers": [0.5, 0.5],
                    "learned": True,
                    "norm": True,
                },
                _SWIGLU,
            ),
        ),
        "no meta tokens, no keys shared between layers, and a window in the first, middle and last "
        "layer too.",
    ),
    "based": Hybrid(
        "Arora et al., 2024, arXiv:2402.18668: Taylor features and windows of 64",
        (_layer("based", _SWIGLU), _layer(_window(64), _SWIGLU)),
        "in turns; the paper spreads few of both among gated convolutions.",
    ),
    "xlstm_1_1": Hybrid(
        "Beck et al., 2024, arXiv:2405.04517, section 2.4: xLSTM[1:1]",
        (_layer("mlstm_block"), _layer("slstm_block", _UP)),
        "the places of the sLSTM blocks.",
    ),
    "xlstm_7_1": Hybrid(
        "Beck et al., 2024, arXiv:2405.04517, section 2.4: xLSTM[7:1]",
        (_layer("mlstm_block"), _layer("slstm_block", _UP), *[_layer("mlstm_block")] * 6),
        "the places of the sLSTM blocks, which the paper sets for each size by hand.",
    ),
    "xlstm_large": Hybrid(
        "Beck et al., 2025, arXiv:2503.13427: the blocks of xLSTM 7B",
        (_layer("mlstm", _SWIGLU),),
        "gates and logits are not capped.",
    ),
    "sha_rnn": Hybrid(
        "Merity, 2019, arXiv:1911.11423: four LSTMs, one of which is followed by attention",
        (
            _layer("lstm", "boom"),
            _layer("lstm", "boom"),
            _layer("lstm", "single_head_attention", "boom"),
            _layer("lstm", "boom"),
        ),
        "the LSTM's answer is added to what it read, not put in its place; the stack norms as it "
        "does elsewhere.",
    ),
    "swax": Hybrid(
        "Cabannes et al., 2025, arXiv:2509.24552: windows, short at random, and mLSTM in turns",
        (_layer("swax", _SWIGLU), _layer("mlstm", _SWIGLU)),
        "the order and the widths could not be verified.",
    ),
    "gated_delta_net_h1": Hybrid(
        "Yang et al., 2024, arXiv:2412.06464: gated delta rule and windows in turns",
        (_layer("gated_delta_net", _SWIGLU), _layer(_window(2048), _SWIGLU)),
    ),
    "gated_delta_net_h2": Hybrid(
        "Yang et al., 2024, arXiv:2412.06464: Mamba-2 too",
        (
            _layer("mamba2", _SWIGLU),
            _layer("gated_delta_net", _SWIGLU),
            _layer(_window(2048), _SWIGLU),
        ),
    ),
    "qwen3_next": Hybrid(
        "Qwen Team, Qwen3-Next, 2025: three gated delta rules to one attention, all with mixtures",
        (
            *[_layer("gated_delta_net", _experts(512, 10, 0.25, True, shared_expansion=0.25))] * 3,
            _layer(
                {"name": "attention", "gate": True, "epsilon": 1e-6},
                _experts(512, 10, 0.25, True, shared_expansion=0.25),
            ),
        ),
        "each head has keys and values, all of whose features turn by their positions.",
    ),
    "kimi_linear": Hybrid(
        "Kimi Team, 2025, arXiv:2510.26692, section 4: three KDA to one attention, each with a "
        "mixture",
        (
            *[_layer("kda", _experts(256, 8, 4 / 9, True))] * 3,
            _layer({"name": "attention", "rotary": False}, _experts(256, 8, 4 / 9, True)),
        ),
        "attention is not latent; no expert serves every position; the "
        "first layer has a mixture too.",
    ),
}
"""Every hybrid, by the name it is asked for."""
