"""The recurrent block and the RG-LRU of RecurrentGemma in transformers, with our weights."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import Hawk


def agreements() -> Iterator[Agreement]:
    """Yield one for the unit, with documents that begin in the middle, and one for the block."""
    from transformers import RecurrentGemmaConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.recurrent_gemma import modeling_recurrent_gemma as hub  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    ours = Hawk(16, inner=24)
    torch.nn.init.normal_(ours.recurrence.bias)
    config = RecurrentGemmaConfig(hidden_size=16, lru_width=24, num_attention_heads=4)
    peer = hub.RecurrentGemmaRecurrentBlock(config, 0)
    unit, weights = ours.recurrence, ours.state_dict()
    peer.load_state_dict(
        {
            "linear_y.weight": weights["gate.weight"],
            "linear_y.bias": weights["gate.bias"],
            "linear_x.weight": weights["input.weight"],
            "linear_x.bias": weights["input.bias"],
            "linear_out.weight": weights["output.weight"],
            "linear_out.bias": weights["output.bias"],
            "conv_1d.weight": weights["convolution.weight"][:, None],
            "conv_1d.bias": weights["convolution.bias"],
            "rg_lru.recurrent_param": -unit.Lambda.detach(),
            "rg_lru.recurrent_gate_weight": unit.weight.detach()[0],
            "rg_lru.recurrent_gate_bias": unit.bias.detach()[0].view(4, 6),
            "rg_lru.input_gate_weight": unit.weight.detach()[1],
            "rg_lru.input_gate_bias": unit.bias.detach()[1].view(4, 6),
        }
    )
    position = torch.arange(50).expand(2, -1)
    restarts = torch.stack([position[0], position[0] % 17])

    def theirs(x: Tensor) -> Tensor:
        peer.rg_lru.recurrent_states = None
        return peer.rg_lru(x, restarts)

    yield agree(
        "RG-LRU",
        "transformers",
        lambda x: unit(x, reset=restarts == 0)[0],
        theirs,
        [draw(2, 50, 24)],
        defects="keeps its state in itself, where streams mix: emptied before each call",
    )
    yield agree(
        "block",
        "transformers",
        lambda x: ours(x)[0],
        lambda x: peer(x, position, None, False)[0],
        [draw(2, 50, 16)],
        defects="its convolution reads across documents: compared without",
    )
