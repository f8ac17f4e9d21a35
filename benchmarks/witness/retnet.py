"""Multi-scale retention of torchscale, its authors' layer, with our weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.witness.agreement import Agreement, agree, draw
from statewise.mixers import Retention


def agreements() -> Iterator[Agreement]:
    """Yield that of the layer; angles and the mask of decays are given to it, as the paper's."""
    from torchscale.component import (  # pyright: ignore[reportMissingImports]
        multiscale_retention as hub,
    )

    heads, key, time = 4, 8, 100
    ours = Retention(heads * key, heads=heads)
    args: Any = SimpleNamespace(multiway=False, layernorm_eps=0.0)
    peer: Any = hub.MultiScaleRetention(args, ours.dim, ours.value, heads)
    ours.output.norm.eps = 0.0
    q, k, v = ours.query_key_value.map.weight.split(ours.query_key_value.sizes)
    # Ours turns features half a head apart, theirs neighbours.
    pairs = torch.arange(key).view(2, -1).T.flatten()
    with torch.no_grad():
        for layer, weight in ((peer.q_proj, q), (peer.k_proj, k)):
            layer.weight.copy_(weight.unflatten(0, (heads, key))[:, pairs].flatten(0, 1))
        peer.v_proj.weight.copy_(v)
        peer.g_proj.weight.copy_(ours.output.gate.weight)
        peer.out_proj.weight.copy_(ours.output.output.weight)
    place = torch.arange(time)
    angle = place[:, None] / 10000 ** torch.linspace(0, 1, key // 2).repeat_interleave(2)
    age = place[:, None] - place
    rates = 1 - 2.0 ** (-5 - torch.arange(heads))
    mask = torch.where(age < 0, 0, rates[:, None, None] ** age.clamp(min=0))

    def theirs(x: Tensor) -> Tensor:
        return peer(x, ((angle.sin(), angle.cos()), mask))

    note = "rescales what the norm undoes but for its epsilon: here none"
    x = [draw(2, time, ours.dim)]
    yield agree("MultiScaleRetention", "torchscale", lambda x: ours(x)[0], theirs, x, defects=note)
