"""Residual reservoirs: an orthogonal branch beside a random network more than doubles its memory.

Pinna, Ceni and Gallicchio, "Deep Residual Echo State Networks", 2025, arXiv:2508.21172; memory
capacity as `statewise.analysis.memory` has it, over 200 lags.

Recipe   networks of 100 units in all, whose inputs are uniform and weighed by at most 0.1, on 8,000
         inputs, of which the readout is learned from two thirds.
Weak     memory of noise alone. Options were not tuned for any network, and with as many units in
         all, more layers do not remember more: the paper's depth has units for each layer.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from statewise import mixers
from statewise.analysis.memory import memory_curve
from statewise.literature.paper import Budget, Check, Claim

PAPER = 138
UNITS, LAGS = 100, 200
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


class Layers(nn.Module):
    """Reservoirs one above the other, whose states are read side by side."""

    def __init__(self, spec: Mapping[str, Any], layers: int):
        super().__init__()
        widths = [1, *[UNITS // layers] * (layers - 1)]
        self.layers: Any = nn.ModuleList(mixers.build(dict(spec), width) for width in widths)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return those of the layers."""
        return tuple(layer.initial_state(batch) for layer in self.layers)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Any, ...]]:
        """Map a whole sequence."""
        return self._through(x, [layer.forward for layer in self.layers])

    def step(self, x: Tensor, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Map one input."""
        calls = zip(self.layers, state, strict=True)
        return self._through(x, [partial(layer.step, state=before) for layer, before in calls])

    def state_size(self, time: int) -> int:
        """Return those of the layers, added up."""
        return sum(layer.state_size(time) for layer in self.layers)

    def _through(self, x: Tensor, calls: Iterable[Any]) -> tuple[Tensor, tuple[Any, ...]]:
        held, after = [], []
        for call in calls:
            x, state = call(x)
            held.append(x)
            after.append(state)
        return torch.cat(held, -1), tuple(after)


def measure(recipe: Mapping[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return the memory capacity."""
    spec = {"input_scale": 0.1, **recipe}
    network = Layers(spec, spec.pop("above", 1)).double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, 4000 * budget.steps(2), 1, generator=generator, dtype=torch.float64)
    curve = memory_curve(network, 2 * x - 1, lags=LAGS, washout=500, penalty=1e-7)
    return {CAPACITY: float(curve.sum())}
