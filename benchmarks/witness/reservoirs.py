"""The reservoirs and the ridge readout of reservoirpy, which is NumPy: no gradients."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, draw
from statewise.analysis.readout import Ridge
from statewise.mixers import EchoState, ResidualEchoState


def agreements() -> Iterator[Agreement]:
    """Yield that of a leaky reservoir, of an edge-of-stability one, and of a readout."""
    from reservoirpy import nodes  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    x, target = draw(1, 500, 3), draw(1, 500, 2, seed=1)
    leaky = EchoState(3, 40, leak=0.3, density=0.2, bias_scale=0.5)
    W, W_in, b = (leaky.get_buffer(name) for name in ("recurrent", "input", "bias"))
    states, _ = leaky(x)
    peer = nodes.Reservoir(units=40, lr=0.3, W=_array(W), Win=_array(W_in), bias=_array(b))
    yield _alike("Reservoir", states[0], peer.run(x[0].double().numpy()))

    mixer = ResidualEchoState(3, 40, alpha=0.7, beta=0.3, bias_scale=0.5)
    W, branch = mixer.get_buffer("recurrent").chunk(2)
    W_in, b = mixer.get_buffer("input"), mixer.get_buffer("bias")
    peer = nodes.ES2N(
        proximity=0.3, W=_array(W), Win=_array(W_in), O=_array(branch), bias=_array(b)
    )
    yield _alike("ES2N", mixer(x)[0][0], peer.run(x[0].double().numpy()))

    readout = Ridge(40, 2, penalty=1e-2, washout=50)
    readout.add(states, target)
    peer = nodes.Ridge(ridge=1e-2).fit(_array(states[0]), _array(target[0]), warmup=50)
    found = readout.fit(dtype=torch.float64)
    ours = torch.cat([found.weight.T, found.bias[None]]).detach()
    theirs = torch.cat([torch.as_tensor(peer.Wout), torch.as_tensor(peer.bias)[None]])
    yield _alike("Ridge", ours, theirs)


def _array(x: Tensor) -> Any:
    return x.double().numpy()


def _alike(what: str, ours: Tensor, theirs: Any) -> Agreement:
    from importlib.metadata import version

    expected = torch.as_tensor(theirs)
    difference = ((ours.double() - expected).norm() / expected.norm()).item()
    return Agreement(what, f"reservoirpy {version('reservoirpy')}", difference, 1e-5, "")
