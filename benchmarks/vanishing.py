"""Why gates: how far gradients reach, and the adding problem: `python -m benchmarks.vanishing`.

First the norm of  d state_T / d state_{T-k}  for Elman's network with spectral radius 0.9 and for
LSTM with forget gates near one. Then both, at the same width, steps and optimizer, on the adding
problem at 100 numbers, where to answer 1 always costs 0.167 (Lipton et al., "A Critical Review of
Recurrent Neural Networks for Sequence Learning", 2015, arXiv:1506.00019, section 3.1, and the
papers in `statewise.analysis.gradients` and `statewise.tasks.adding_problem`).
"""

import argparse
from statistics import median
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from statewise import mixers
from statewise.analysis.gradients import gradient_by_lag
from statewise.mixers import Mixer
from statewise.tasks.adding_problem import AddingProblem

HIDDEN, LAG, RADIUS, FORGET = 64, 100, 0.9, 5.0
LENGTH, BATCH, STEPS, RATE, ASKED = 100, 64, 4000, 2e-3, 2000
LAGS = (1, 10, 50, 100)
TASK = AddingProblem()


def reach(name: str, leaf: str, seed: int) -> torch.Tensor:
    """Return the gradient by lag of a freshly started mixer."""
    torch.manual_seed(seed)
    mixer = mixers.build(name, HIDDEN).double()
    assert isinstance(mixer, Mixer)
    with torch.no_grad():
        if name == "elman":
            matrix = mixer.get_parameter("weight_hh_l0")
            matrix *= RADIUS / torch.linalg.eigvals(matrix).abs().max()
        else:
            for which in ("bias_ih_l0", "bias_hh_l0"):
                mixer.get_parameter(which)[HIDDEN : 2 * HIDDEN] = FORGET / 2
    return gradient_by_lag(mixer, torch.randn(LAG, HIDDEN, dtype=torch.float64), leaf=leaf)


class Adder(nn.Module):
    """A mixer, and a number read from its last output."""

    def __init__(self, name: str):
        super().__init__()
        self.read = nn.Linear(TASK.features, HIDDEN)
        self.mixer: Any = mixers.build(name, HIDDEN)
        self.answer = nn.Linear(HIDDEN, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, time, 2) to (batch,)."""
        y, _ = self.mixer(self.read(x))
        return self.answer(y[:, -1])[:, 0]


def learned(name: str, seed: int, steps: int) -> float:
    """Return the mean square of the error after training."""
    torch.manual_seed(seed)
    generator, model = torch.Generator().manual_seed(seed), Adder(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in tqdm(range(steps), desc=f"{name}, seed {seed}", leave=False):
        drawn = TASK.draw(BATCH, LENGTH, generator)
        optimizer.zero_grad()
        (model(drawn.x) - drawn.target).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    drawn = TASK.draw(ASKED, LENGTH, torch.Generator().manual_seed(seed + 1_000_000))
    with torch.no_grad():
        return float((model(drawn.x) - drawn.target).square().mean())


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vanishing", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS, help="of training")
    options = parser.parse_args()
    print(f"norm of d state_T / d state_(T-k), {HIDDEN} units, median of {options.seeds} seeds")
    print(f"{'k':>34}" + "".join(f"{lag:>11}" for lag in LAGS))
    for name, leaf, about in (
        ("elman", "h", f"spectral radius {RADIUS}"),
        ("lstm", "c", f"forget bias {FORGET:g}"),
    ):
        norms = torch.stack([reach(name, leaf, seed) for seed in range(options.seeds)])
        middle = norms.median(0).values
        shown = "".join(f"{middle[lag]:11.2g}" for lag in LAGS)
        fall = float(middle[0] / middle[LAG])
        print(f"{name + ', ' + about:34}{shown}   falls {fall:.3g} times over {LAG}")
    print(
        f"\nadding problem, {LENGTH} numbers, {options.steps} steps of {BATCH}: mean squared error"
    )
    for name in ("elman", "lstm"):
        errors = [learned(name, seed, options.steps) for seed in range(options.seeds)]
        shown = ", ".join(f"{error:.4f}" for error in errors)
        print(f"{name:34}{median(errors):11.4f}   seeds {shown}; always 1: {TASK.baseline:.4f}")


if __name__ == "__main__":
    main()
