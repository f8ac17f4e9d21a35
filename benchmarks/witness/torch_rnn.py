"""torch.nn.RNN, LSTM and GRU, whose `state_dict`s our mixers load."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise import mixers


def agreements() -> Iterator[Agreement]:
    """Yield one for each cell, two layers deep."""
    pairs: list[tuple[str, type[Any], type[Any]]] = [
        ("RNN", mixers.Elman, nn.RNN),
        ("LSTM", mixers.LSTM, nn.LSTM),
        ("GRU", mixers.GRU, nn.GRU),
    ]
    for name, ours, theirs in pairs:
        torch.manual_seed(0)
        peer = theirs(12, 16, num_layers=2, batch_first=True)
        mixer = ours(12, 16, layers=2)
        mixer.load_state_dict(peer.state_dict())

        def layers_first(x: Tensor, peer: nn.RNNBase = peer) -> list[Tensor]:
            y, state = peer(x)
            leaves = state if isinstance(state, tuple) else (state,)
            return [y, *(leaf.transpose(0, 1) for leaf in leaves)]

        yield agree(f"torch.nn.{name}", "torch", mixer, layers_first, [draw(3, 100, 12)])
