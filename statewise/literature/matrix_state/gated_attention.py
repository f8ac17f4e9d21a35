"""A gated linear recurrence can be linear attention, and learns to be where it has the units.

Zucchet et al., "Gated Recurrent Neural Networks Discover Attention", 2023, arXiv:2309.01775,
sections 3 to 5.

Recipe   a recurrence of d (d + 1) numbers whose weights are written by hand; such recurrences as
         students of one random linear attention over 16 inputs, of half as many numbers, as many
         and twice as many; and linear regression in context, of three weights from ten points, by
         networks of as many units.
Weak     noise and a small regression. Forgetting is one number a unit, which the paper has too; its
         gated RNN is this one and not the LSTM or GRU, which stand beside it.

Tried before this was committed, at seeds 100 and 101: all held, but that LSTM and GRU were far
better than the gated recurrence (0.40 to 0.43 where it has 0.85, as has one step of descent): with
as many units they solve more of a problem of three weights than a step does. The claim stays as it
was put.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statewise.analysis.attention_as_recurrence import GatedRecurrence, as_recurrence
from statewise.analysis.learning import minimize
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import GRU, LSTM
from statewise.ops.linear_attention import linear_attention
from statewise.tasks.regression import LinearRegression
from statewise.testing.agreement import distance

PAPER = 84
DIM, TIME, BATCH, POINTS, WEIGHTS = 4, 16, 128, 10, 3
UNITS = DIM * (DIM + 1)
ERROR, LOSS = "error beside the teacher", "squared error in context"
HAND, STEP = "by hand", "one step of gradient descent"


class Attending(nn.Module):
    """Linear attention without features, norm or decay."""

    def __init__(self, dim: int, out: int):
        super().__init__()
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.read = nn.Linear(dim, out, bias=False)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time out"]:
        """Map sequences."""
        q, k, v = self.query_key_value(x)[:, :, None].chunk(3, -1)
        return self.read(linear_attention(q, k, v)[0][:, :, 0])


class Gated(nn.Module):
    """A gated cell and what reads it."""

    def __init__(self, mixer: Any):
        super().__init__()
        self.mixer, self.read = mixer, nn.Linear(mixer.out, 1)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time 1"]:
        """Map sequences."""
        return self.read(self.mixer(x)[0])


STUDENTS = {f"student of {units} units": units for units in (UNITS // 2, UNITS, 2 * UNITS)}
READERS: dict[str, Callable[[int], nn.Module]] = {
    "linear attention": lambda dim: Attending(dim, 1),
    "gated recurrence": lambda dim: GatedRecurrence(dim, UNITS, 1),
    "LSTM": lambda dim: Gated(LSTM(dim, UNITS)),
    "GRU": lambda dim: Gated(GRU(dim, UNITS)),
}
RECIPES = {name: name for name in (HAND, *STUDENTS, STEP, *READERS)}
_, SMALL, ENOUGH, TWICE, _, ATTENTION, RECURRENCE, *CELLS = RECIPES

CLAIM = Claim(
    "By hand it is linear attention to 1e-5; with d (d + 1) units or more a student comes within a "
    "thousandth of its teacher, and with half of them it does not; in context it is within 5 "
    "percent of linear attention and of one step of descent, and LSTM and GRU are behind.",
    (
        Check("by hand", (HAND, ERROR), "<=", 1e-5),
        Check("enough units", (ENOUGH, ERROR), "<=", 1e-3),
        Check("twice as many", (TWICE, ERROR), "<=", 1e-3),
        Check("half of them", (SMALL, ERROR), ">=", 1e-3),
        Check("as attention", (RECURRENCE, LOSS), "<=", (ATTENTION, LOSS), 1.05, paired=True),
        Check("as a step of descent", (RECURRENCE, LOSS), "<=", (STEP, LOSS), 1.05, paired=True),
        *(
            Check(f"the {cell} is behind", (cell, LOSS), ">=", (RECURRENCE, LOSS), paired=True)
            for cell in CELLS
        ),
    ),
)


def measure(recipe: str, budget: Budget, seed: int) -> dict[str, float]:
    """Return a share of the teacher's variance that is missed, or the error in context."""
    generator, steps = torch.Generator().manual_seed(seed), budget.steps(3000)
    if recipe == STEP or recipe in READERS:
        return {LOSS: in_context(recipe, steps, generator)}
    teacher = Attending(DIM, DIM).requires_grad_(False)
    nn.init.eye_(teacher.read.weight)
    nn.init.normal_(teacher.query_key_value.weight, std=DIM**-0.5)
    x = torch.randn(16 * BATCH, TIME, DIM, generator=generator)
    if recipe == HAND:
        found = as_recurrence(*teacher.query_key_value.weight.chunk(3))(x)
        return {ERROR: distance(found, teacher(x))}
    student, scale = GatedRecurrence(DIM, STUDENTS[recipe], DIM), teacher(x).var()

    def cost(_: float) -> Tensor:
        drawn = torch.randn(BATCH, TIME, DIM, generator=generator)
        return (student(drawn) - teacher(drawn)).square().mean() / scale

    minimize(student, cost, steps=steps, learning_rate=1e-2)
    with torch.no_grad():
        return {ERROR: distance(student(x), teacher(x)) ** 2}


def in_context(reader: str, steps: int, generator: torch.Generator) -> float:
    """Return the squared error at the point that is asked about, on fresh regressions."""

    def draw(batch: int) -> tuple[Tensor, Tensor]:
        """Return points with their values, the last one's withheld, and that."""
        drawn = LinearRegression(WEIGHTS).draw(batch, 2 * POINTS + 1, generator)
        points = drawn.inputs[:, ::2].clone()
        points[:, :-1, -1] = drawn.inputs[:, 1::2, -1]
        return points, drawn.targets[:, -1]

    x, wanted = draw(20_000)
    if reader == STEP:
        points, values = x.split([WEIGHTS, 1], -1)
        moved = ((points * values).sum(1) * points[:, -1]).sum(-1)
        return float((moved * (moved @ wanted) / (moved @ moved) - wanted).square().mean())
    model = READERS[reader](WEIGHTS + 1)

    def cost(_: float) -> Tensor:
        drawn, answers = draw(BATCH)
        return (model(drawn)[:, -1, 0] - answers).square().mean()

    minimize(model, cost, steps=steps, learning_rate=1e-2)
    with torch.no_grad():
        return float((model(x)[:, -1, 0] - wanted).square().mean())
