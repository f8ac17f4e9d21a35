"""torch.nn.utils.parametrizations.orthogonal, whose maps are those of expRNN and of scoRNN."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import orthogonal

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import SCORNN, ExpRNN


def agreements() -> Iterator[Agreement]:
    """Yield that of each map, through a recurrence of ours with torch's matrix."""
    torch.manual_seed(0)
    entries = draw(12, 12, seed=1) / 4
    x = draw(2, 50, 6, seed=2)
    kinds: list[tuple[str, Any, float]] = [
        ("matrix_exp", ExpRNN(6, 12), 1.0),
        # torch's Cayley map is (I + X / 2) (I - X / 2)^-1: that of scoRNN at A = -X / 2.
        ("cayley", SCORNN(6, 12, negative=3, input_scale=1.0), -0.5),
    ]
    for kind, mixer, factor in kinds:
        # torch reads what is below the diagonal, we what is above.
        layer: Any = orthogonal(nn.Linear(12, 12, bias=False), orthogonal_map=kind)
        parametrization: Any = layer.parametrizations["weight"]
        parametrization[0].base = torch.eye(12, dtype=torch.float64)

        def ours(x: Tensor, X: Tensor, mixer: Any = mixer, factor: float = factor) -> Tensor:
            named = {"skew": -factor * X.mT}
            return torch.func.functional_call(mixer, named, (x,))[0]

        def theirs(x: Tensor, X: Tensor, mixer: Any = mixer, make: Any = parametrization) -> Tensor:
            # In float64: in float32 its exponential leaves 1.5e-4 in the gradient by X.
            Q = make[0](X.double()).to(X.dtype)
            if isinstance(mixer, SCORNN):
                Q = Q * mixer.get_buffer("signs")
            h, hs = x.new_zeros(len(x), 12), []
            for x_t in x.unbind(1):
                v = x_t @ mixer.input.weight.T + h @ Q.T
                h = v.sign() * (v.abs() + mixer.bias).relu()
                hs.append(h)
            return torch.stack(hs, 1)

        yield agree(f"orthogonal, {kind}", "torch", ours, theirs, [x, entries])
