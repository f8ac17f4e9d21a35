"""Residual reservoirs: an orthogonal branch beside a random network more than doubles its memory.

Pinna, Ceni and Gallicchio, "Deep Residual Echo State Networks", 2025, arXiv:2508.21172; memory
capacity after Jaeger, "Short term memory in echo state networks", GMD report 152, 2001, section 3:
over 200 lags, the squared correlation of the input of that long ago with what a linear readout of
the state makes of it, added up.

Recipe   networks of 100 units in all, whose inputs are uniform and weighed by at most 0.1, a ridge
         readout from 5,000 inputs, asked on 2,000 others.
Weak     memory of noise alone. Options were not tuned for any network, and with as many units in
         all, more layers do not remember more: the paper's depth has units for each layer.
"""

from collections.abc import Mapping
from typing import Any

import torch

from statewise import mixers
from statewise.analysis.readout import Ridge
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import Mixer

PAPER = 138
UNITS, LAGS, WASHOUT = 100, 200, 500
CAPACITY = "memory capacity"

CLAIM = Claim(
    "With 100 units, a residual reservoir whose branch is orthogonal or cyclic remembers at least "
    "twice what a plain one does, and one whose branch is the identity remembers less; cut into "
    "five layers of 20, the residual one still remembers at least twice what the plain one does.",
    (
        *(
            Check(
                f"{branch} branch",
                (f"residual, {branch}", CAPACITY),
                ">=",
                ("plain", CAPACITY),
                2.0,
            )
            for branch in ("orthogonal", "cycle")
        ),
        Check(
            "the identity leaves less",
            ("residual, identity", CAPACITY),
            "<=",
            ("plain", CAPACITY),
        ),
        Check(
            "in five layers",
            ("residual, orthogonal, 5 layers", CAPACITY),
            ">=",
            ("plain, 5 layers", CAPACITY),
            2.0,
        ),
    ),
)

RESIDUAL = {"name": "residual_echo_state", "hidden": UNITS}
RECIPES: Mapping[str, dict[str, Any]] = {
    "plain": {"name": "echo_state", "hidden": UNITS},
    "leaky": {"name": "echo_state", "hidden": UNITS, "leak": 0.5},
    **{
        f"residual, {branch}": RESIDUAL | {"branch": branch}
        for branch in ("orthogonal", "cycle", "identity")
    },
    "plain, 5 layers": {"name": "deep_echo_state", "hidden": UNITS // 5, "layers": 5},
    "residual, orthogonal, 5 layers": RESIDUAL | {"hidden": UNITS // 5, "above": 5},
}
"""A mixer; `above`, how many of it one above the other are read side by side."""


def measure(recipe: Mapping[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return the memory capacity on inputs that the readout has not seen."""
    spec = {"input_scale": 0.1, **recipe}
    layers = spec.pop("above", 1)
    learned, asked = 2500 * budget.steps(2), 2000
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(1, WASHOUT + learned + asked, 1, generator=generator, dtype=torch.float64)
    u, held = 2 * u - 1, list[torch.Tensor]()
    for _ in range(layers):
        read = held[-1] if held else u
        mixer = mixers.build(spec, read.shape[-1]).double()
        assert isinstance(mixer, Mixer)
        held.append(mixer(read)[0])
    y = torch.cat(held, -1)
    past = torch.stack([u[:, :, 0].roll(lag, 1) for lag in range(1, LAGS + 1)], -1)
    readout = Ridge(UNITS, LAGS, penalty=1e-7, washout=WASHOUT)
    readout.add(y[:, :-asked], past[:, :-asked])
    with torch.no_grad():
        made = readout.fit(dtype=torch.float64)(y[0, -asked:])
    both = torch.stack([made, past[0, -asked:]])
    both = both - both.mean(1, keepdim=True)
    products = (both[0] * both[1]).sum(0).square()
    return {CAPACITY: float((products / both.square().sum(1).prod(0)).sum())}
