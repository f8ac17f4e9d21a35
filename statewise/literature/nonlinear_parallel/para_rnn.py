"""ParaRNN: Newton's method finds all states of a nonlinear cell in a few scans, however many.

Danieli et al., "ParaRNN: Unlocking Parallel Training of Nonlinear RNNs for Large Language Models",
2025, arXiv:2510.21450, sections 3 and 4.

Recipe   the paper's GRU and LSTM with diagonal recurrence, fresh, on noise of 64 to 4,096 times in
         float64; then two layers learn bytes of text, by Newton's method and by the loop, from one
         start and of the same passages.
Weak     fresh cells on noise: trained ones may need more. Depth is counted in scans; on a processor
         they take longer than the loop (docs/classical.md), so nothing is said of seconds.

Tried before at seeds 100 and 101: all held, by 5 or 6 scans at any length.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from statewise.analysis.learning import minimize, stack
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.mixers import ParaGRU, ParaLSTM
from statewise.mixers.base import Cell
from statewise.tasks import examples
from statewise.tasks.passages import Passages, of_manual
from statewise.testing.agreement import distance

PAPER = 108
DIM, LENGTHS = 32, (64, 256, 1024, 4096)
STATES, GRADIENTS = "largest error beside the loop", "largest error of gradients"
APART, FALL = "largest difference of the loss curves", "loss at the end, by that at the start"

Kind = Callable[[int], Cell[Any]]
RECIPES: dict[str, Kind] = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}

CLAIM = Claim(
    "Newton's method reaches the loop's states to 1e-10 and its gradients to 1e-6 in at most eight "
    "scans at any length to 4,096, and learns text along the same curve, to 1 percent.",
    tuple(
        check
        for name in RECIPES
        for check in (
            *(
                Check(f"{name}: few scans at {length}", (name, f"at {length} scans"), "<=", 8.0)
                for length in LENGTHS
            ),
            Check(f"{name}: the loop's states", (name, STATES), "<=", 1e-10),
            Check(f"{name}: its gradients", (name, GRADIENTS), "<=", 1e-6),
            Check(f"{name}: its curve", (name, APART), "<=", 0.01),
            Check(f"{name}: it learns", (name, FALL), "<=", 0.7),
        )
    ),
)


def measure(kind: Kind, budget: Budget, seed: int) -> dict[str, float]:
    """Return how many scans it takes, how near it comes, and how learning differs."""
    cell, generator = kind(DIM).double(), torch.Generator().manual_seed(seed)
    scans, states, gradients = dict[int, float](), 0.0, 0.0
    for length in LENGTHS:
        x = torch.randn(1, length, DIM, dtype=torch.float64, generator=generator)
        wanted, (found, _, report) = cell(x)[0], cell.solve(x)
        scans[length] = float(report.iterations)
        states = max(states, distance(found, wanted))
        given = torch.randn(wanted.shape, dtype=torch.float64, generator=generator)
        learned = list(cell.parameters())
        ours, theirs = (torch.autograd.grad(y, learned, given) for y in (found, wanted))
        gradients = max(gradients, *map(distance, ours, theirs))
    newton = curve(lambda dim: solved(kind(dim)), budget, seed)
    loop = curve(kind, budget, seed)
    return at(scans, "scans") | {
        STATES: states,
        GRADIENTS: gradients,
        APART: float(((newton - loop).abs() / loop).max()),
        FALL: float(newton[-1] / newton[0]),
    }


def solved(cell: Cell[Any]) -> Cell[Any]:
    """Return a cell that is solved for all times at once wherever it is called."""
    cell.forward = lambda x, state=None, **marks: cell.solve(x, state, **marks)[:2]
    return cell


def curve(mixer: Kind, budget: Budget, seed: int) -> Tensor:
    """Return what each step of learning text cost."""
    torch.manual_seed(seed)
    text, generator = Passages(of_manual()[0]), torch.Generator().manual_seed(seed)
    model, costs = stack(mixer, text, dim=DIM, depth=2), list[Tensor]()

    def cost(_: float) -> Tensor:
        drawn = text.draw(16, 64, generator)
        now = examples.loss(model(drawn.tokens)[0], drawn)
        costs.append(now.detach())
        return now

    minimize(model, cost, steps=budget.steps(100))
    return torch.stack(costs)
