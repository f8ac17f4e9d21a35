"""The Mamba layers of transformers and of mambapy, with our weights."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import Mamba

NAMES = {
    "in_proj.weight": "input.weight",
    "conv1d.weight": "convolution.weight",
    "conv1d.bias": "convolution.bias",
    "x_proj.weight": "selective.select.weight",
    "dt_proj.weight": "selective.step_weight",
    "dt_proj.bias": "selective.step_bias",
    "A_log": "selective.log_rate",
    "D": "selective.skip",
    "out_proj.weight": "output.weight",
}


def agreements() -> Iterator[Agreement]:
    """Yield one for each peer."""
    torch.manual_seed(0)
    ours = Mamba(32)
    x = draw(2, 50, 32)

    from transformers import MambaConfig  # pyright: ignore[reportMissingImports]
    from transformers.models.mamba import modeling_mamba as hub  # pyright: ignore[reportMissingImports]

    config = MambaConfig(hidden_size=32, state_size=16, num_hidden_layers=1, use_mambapy=False)
    peer = hub.MambaMixer(config, 0).eval()
    _load(peer, ours.state_dict())
    note = "with a cache and several inputs at once its scan begins anew: compared from the start"
    yield agree("layer", "transformers", lambda x: ours(x)[0], peer, [x], defects=note)

    from mambapy import mamba  # pyright: ignore[reportMissingImports]

    other = mamba.MambaBlock(mamba.MambaConfig(d_model=32, n_layers=1))
    _load(other, ours.state_dict())
    yield agree("layer", "mambapy", lambda x: ours(x)[0], other, [x])


def _load(peer: nn.Module, weights: Mapping[str, Tensor]) -> None:
    state = {theirs: weights[mine] for theirs, mine in NAMES.items()}
    state["conv1d.weight"] = state["conv1d.weight"][:, None]
    peer.load_state_dict(state)
