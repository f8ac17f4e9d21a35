"""mLSTM's layer in transformers (xLSTM), with its weights in ours."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from benchmarks.witness.mlstm_memory import transformers
from statewise.mixers import MLSTM


def agreements() -> Iterator[Agreement]:
    """Yield one, with keys half as wide as values, at a length that chunks of 64 do not divide."""
    hub = transformers()
    config = hub.xLSTMConfig(
        hidden_size=32,
        num_heads=4,
        qk_dim_factor=0.5,
        v_dim_factor=1.0,
        weight_mode="single",
        norm_eps=1e-5,
        eps=0.0,
        gate_soft_cap=1e4,  # ours has none
        num_hidden_layers=1,
    )
    torch.manual_seed(0)
    peer = hub.xLSTMLayer(config)
    ours = MLSTM(32, heads=4, key=16)
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    theirs = peer.state_dict()

    def joined(*names: str) -> Tensor:
        return torch.cat([theirs[name] for name in names])

    ours.load_state_dict(
        {
            "query_key_value.map.weight": joined("q.weight", "k.weight", "v.weight"),
            "gates.weight": joined("igate_preact.weight", "fgate_preact.weight"),
            "gates.bias": joined("igate_preact.bias", "fgate_preact.bias"),
            "output.gate.weight": theirs["ogate_preact.weight"],
            "output.norm.weight": theirs["multihead_norm.weight"].view(4, -1),
            "output.output.weight": theirs["out_proj.weight"],
        }
    )

    def mixed(x: Tensor) -> Tensor:
        return ours(x)[0]

    def layer(x: Tensor) -> Tensor:
        return peer(x)[0]

    note = "adds eps in stabilized units, so that its answer depends on m; here eps = 0"
    yield agree("layer", "transformers", mixed, layer, [draw(2, 100, 32)], defects=note)
