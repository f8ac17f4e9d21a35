"""Mamba-2's mixer in transformers: the whole layer, with its weights in ours."""

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import Mamba2


def agreements() -> Iterator[Agreement]:
    """Yield one for one group and one for two, at a length that chunks do not divide."""
    from transformers import Mamba2Config  # pyright: ignore[reportMissingImports]
    from transformers.models.mamba2 import (  # pyright: ignore[reportMissingImports]
        modeling_mamba2 as hub,
    )

    for groups in (1, 2):
        config = Mamba2Config(
            hidden_size=32,
            num_heads=4,
            head_dim=16,
            state_size=8,
            n_groups=groups,
            chunk_size=32,
            num_hidden_layers=1,
        )
        torch.manual_seed(0)
        peer = hub.Mamba2Mixer(config, 0)
        ours = Mamba2(32, state=8, head=16, groups=groups)
        with torch.no_grad():
            for parameter in peer.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        theirs = peer.state_dict()
        ours.load_state_dict(
            {
                "input.weight": theirs["in_proj.weight"],
                "convolution.weight": theirs["conv1d.weight"][:, 0],
                "convolution.bias": theirs["conv1d.bias"],
                "norm.weight": theirs["norm.weight"].view(groups, -1),
                "output.weight": theirs["out_proj.weight"],
                **{name: theirs[name] for name in ("A_log", "dt_bias", "D")},
            }
        )

        def mixed(x: Tensor, ours: Mamba2 = ours) -> Tensor:
            return ours(x)[0]

        yield agree(f"layer, {groups} groups", "transformers", mixed, peer, [draw(2, 100, 32)])
