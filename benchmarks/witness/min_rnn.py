"""minGRU and minLSTM of minGRU-pytorch, with our weights."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import MinGRU, MinLSTM


def agreements() -> Iterator[Agreement]:
    """Yield one for each; our candidates go through the function that keeps theirs positive."""
    from minGRU_pytorch.minGRU import g, minGRU  # pyright: ignore[reportMissingImports]
    from minGRU_pytorch.minLSTM import minLSTM  # pyright: ignore[reportMissingImports]

    class Positive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return g(x)

    mixers: list[tuple[Any, Any, list[str], str]] = [
        (MinGRU(16), minGRU(16), ["candidate", "gate"], ""),
        (
            MinLSTM(16),
            minLSTM(16),
            ["candidate", "forget_gate", "input_gate"],
            "; maps the state that it goes on from, all but step by step: compared from none",
        ),
    ]
    for ours, peer, names, note in mixers:
        layers = [getattr(ours, name) for name in names]
        (theirs,) = (layer for layer in peer.modules() if isinstance(layer, nn.Linear))
        with torch.no_grad():
            theirs.weight.copy_(torch.cat([layer.weight for layer in layers]))
            for layer in layers:
                layer.bias.zero_()
        ours.candidate = nn.Sequential(ours.candidate, Positive())

        def mixed(x: Tensor, ours: Any = ours) -> Tensor:
            return ours(x)[0]

        yield agree(
            type(peer).__name__,
            "minGRU-pytorch",
            mixed,
            peer,
            [draw(2, 100, 16)],
            # Beside a loop in float64 theirs is off by 1.3e-5, ours by 1.2e-7.
            bound=1e-4,
            defects=f"sums logarithms, which costs two digits; no biases; candidates > 0{note}",
        )
