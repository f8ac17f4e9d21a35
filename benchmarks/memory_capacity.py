"""Memory capacity of the reservoirs: `python -m benchmarks.memory_capacity`.

How much of its past inputs a network of 100 units that is never trained still holds: the sum over
lags of the squared correlation between the input of that long ago and what a linear readout makes
of the state (Jaeger, "Short term memory in echo state networks", GMD report 152, 2001, section 3).
It is at most the number of units. Options stand beside the figures; none was tuned.
"""

import argparse
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks import markdown
from statewise import mixers
from statewise.analysis.readout import Ridge
from statewise.mixers import Mixer

UNITS, LAGS, WASHOUT, LEARNED, ASKED = 100, 200, 500, 5000, 2000
INPUTS = {"input_scale": 0.1}
FIVE = {"hidden": UNITS // 5}

NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({"name": "echo_state", "hidden": UNITS, **INPUTS}, 1),
    "leaky": ({"name": "echo_state", "hidden": UNITS, "leak": 0.5, **INPUTS}, 1),
    "deep, 5 layers of 20": ({"name": "deep_echo_state", "layers": 5, **FIVE, **INPUTS}, 1),
    **{
        f"residual, {branch}": (
            {"name": "residual_echo_state", "hidden": UNITS, "branch": branch, **INPUTS},
            1,
        )
        for branch in ("orthogonal", "cycle", "skew", "identity")
    },
    "residual, orthogonal, 5 layers of 20": (
        {"name": "residual_echo_state", "branch": "orthogonal", **FIVE, **INPUTS},
        5,
    ),
}
"""A mixer, and how many of it one above the other are read side by side."""


def capacity(spec: dict[str, Any], layers: int, seed: int) -> float:
    """Return the memory capacity over `LAGS` lags, on inputs the readout has not seen."""
    torch.manual_seed(seed)
    total = WASHOUT + LEARNED + ASKED
    u = 2 * torch.rand(1, total, 1, dtype=torch.float64) - 1
    read, held = u, []
    for _ in range(layers):
        mixer = mixers.build(dict(spec), read.shape[-1]).double()
        assert isinstance(mixer, Mixer)
        read, _ = mixer(read)
        held.append(read)
    y = torch.cat(held, -1)
    past = torch.stack([u[:, :, 0].roll(lag, 1) for lag in range(1, LAGS + 1)], -1)
    end = WASHOUT + LEARNED
    readout = Ridge(y.shape[-1], LAGS, penalty=1e-7, washout=WASHOUT)
    readout.add(y[:, :end], past[:, :end])
    with torch.no_grad():
        made = readout.fit(dtype=torch.float64)(y[0, end:])
    both = torch.stack([made, past[0, end:]])
    both = both - both.mean(1, keepdim=True)
    products = (both[0] * both[1]).sum(0).square()
    sizes = both.square().sum(1).prod(0)
    return float((products / sizes.clamp(min=1e-300)).sum())


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory_capacity", description=__doc__
    )
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name, (spec, layers) in NETWORKS.items():
        found = [capacity(spec, layers, seed) for seed in range(options.seeds)]
        spread = stdev(found) if len(found) > 1 else 0.0
        rows.append((name, f"{mean(found):.1f}", f"{spread:.1f}"))
    print(f"{UNITS} units in all, {LAGS} lags, {LEARNED} inputs learned from, {ASKED} asked")
    print(markdown.table(("network", "memory capacity", f"spread of {options.seeds} seeds"), rows))


if __name__ == "__main__":
    main()
