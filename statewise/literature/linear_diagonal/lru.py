"""LRU: a plain network without its tanh, diagonal, stable and scaled, reads as state spaces do.

Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", 2023, arXiv:2303.06349,
sections 3 and 4.

Recipe   two layers of 64 complex or 128 real numbers read digits of 8 x 8, dot by dot. From rung to
         rung only what is between the maps in and out changes. The LRU and S4D are also asked for a
         symbol that stood anywhere in 512 others, with decays from all of the disc or near one.
         Seconds are those of forward and backward of a layer on 8 rows of 1,024, beside
         torch.nn.RNN with 128 units.
Weak     digits are short: 64 dots. Weights of all rungs have one learning rate, where the paper
         learns decays more slowly, and no rung was tuned for itself.
Put      as inequalities between rungs that a few seeds can decide: the paper's own differ by less
         than seeds do, so that none may lose more than 2 percent of the right answers to the rung
         below, which is also how far the LRU may be behind S4D.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statewise.analysis.learning import learned_by_length
from statewise.analysis.readers import learned_digits
from statewise.analysis.throughput import median_seconds
from statewise.analysis.trajectories import steps_apart
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import S4D, Mixer
from statewise.mixers.lru import LRU, LRUState
from statewise.mixers.parts.recurrent import Run
from statewise.ops.scan import scan
from statewise.tasks import digits
from statewise.tasks.needle import Needle

PAPER = 85
DIM, TASK, LENGTH = 64, Needle(digits=1, answers=8, hay=8), 512
NEAR = (0.99, 0.9999)

RIGHT, FOUND = "digits right", f"symbols found in {LENGTH}"
FORMS, FASTER = "steps apart from forward", "seconds of training over torch.nn.RNN's"
LADDER = ("tanh", "linear", "diagonal", "stable", "lru")

CLAIM = Claim(
    "On digits read dot by dot a network without tanh is at least as often right as with it, and "
    "no further rung loses more than 2 percent of its answers: diagonal, stable, scaled; nor is "
    "the LRU further behind S4D. Decays near one make it find at least a quarter more symbols in "
    "512, and no more than 2 percent more digits. Steps agree with the scan, and training takes a "
    "fifth of a loop's seconds at most at 1,024 inputs.",
    (
        Check("linear is no worse than tanh", ("linear", RIGHT), ">=", ("tanh", RIGHT)),
        *(
            Check(f"{after} is no worse than {before}", (after, RIGHT), ">=", (before, RIGHT), 0.98)
            for before, after in pairwise(LADDER[1:])
        ),
        Check("the LRU is no worse than S4D", ("lru", RIGHT), ">=", ("s4d", RIGHT), 0.98),
        Check("near one finds more", ("lru, near one", FOUND), ">=", ("lru", FOUND), 1.25),
        Check("but on digits", ("lru, near one", RIGHT), "<=", ("lru", RIGHT), 1.02),
        Check("steps agree", ("lru", FORMS), "<=", 1e-9),
        Check("training is faster", ("lru, timed", FASTER), "<=", 0.2),
    ),
)


class Rung(LRU):
    """The LRU's maps in and out, around another recurrence."""

    def remember(self, drive: Tensor) -> Tensor:
        """Map what is driven to what is remembered, both complex: the LRU without its scale."""
        decay = torch.exp(torch.complex(-self.log_rate.exp(), self.log_phase.exp()))
        return scan(decay, drive)[0]

    def mix(self, x: Tensor, state: LRUState, run: Run) -> tuple[Tensor, LRUState]:
        """Map inputs, from the start."""
        h = self.remember(torch.complex(*self.enter(x).chunk(2, -1)))
        read = self.read(torch.cat([h.real, h.imag], -1))
        return self.output(read + self.skip * x), LRUState(h[:, -1])


class Diagonal(Rung):
    """Decays are parameters themselves, which may leave the disc."""

    def __init__(self, dim: int):
        super().__init__(dim)
        decay = torch.exp(torch.complex(-self.log_rate.exp(), self.log_phase.exp()))
        self.decay = nn.Parameter(torch.view_as_real(decay.detach()))

    def remember(self, drive: Tensor) -> Tensor:
        """Map with one scan."""
        return scan(torch.view_as_complex(self.decay), drive)[0]


class Dense(Rung):
    """A full matrix, of twice as many real numbers, with or without a tanh."""

    def __init__(self, dim: int, curve: Callable[[Tensor], Tensor]):
        super().__init__(dim)
        self.curve = curve
        self.transition = nn.Parameter(torch.randn(2 * dim, 2 * dim) * (2 * dim) ** -0.5)

    def remember(self, drive: Tensor) -> Tensor:
        """Map with a loop."""
        drives = torch.cat([drive.real, drive.imag], -1).unbind(1)
        h, past = torch.zeros_like(drives[0]), []
        for driven in drives:
            h = self.curve(h @ self.transition + driven)
            past.append(h)
        return torch.complex(*torch.stack(past, 1).chunk(2, -1))


class Recipe(NamedTuple):
    """What makes a layer, and what else is asked of it."""

    layer: Callable[[], Mixer[Any]]
    spec: Mapping[str, Any] | None = None
    """The layer in words, where it looks for a symbol too."""
    timed: bool = False


RECIPES = {
    "tanh": Recipe(lambda: Dense(DIM, torch.tanh)),
    "linear": Recipe(lambda: Dense(DIM, nn.Identity())),
    "diagonal": Recipe(lambda: Diagonal(DIM)),
    "stable": Recipe(lambda: Rung(DIM)),
    "lru": Recipe(lambda: LRU(DIM), {"name": "lru"}),
    "lru, near one": Recipe(lambda: LRU(DIM, ring=NEAR), {"name": "lru", "ring": NEAR}),
    "s4d": Recipe(lambda: S4D(DIM)),
    "lru, timed": Recipe(lambda: LRU(DIM), timed=True),
}
ALONE = ("lru, timed",)


def measure(recipe: Recipe, budget: Budget, seed: int) -> dict[str, float]:
    """Return what two layers learn, or how long one takes."""
    if recipe.timed:
        layers = recipe.layer(), nn.RNN(DIM, 2 * DIM, batch_first=True)
        ours, theirs = map(_training_seconds, layers)
        return {FASTER: ours / theirs}
    seen, held_out = digits.read(held_out=0.4)
    right = learned_digits(recipe.layer, seen, held_out, steps=budget.steps(400), seed=seed)
    found = {RIGHT: right}
    if recipe.spec:
        found[FOUND] = learned_by_length(
            recipe.spec,
            TASK,
            [LENGTH],
            length=LENGTH,
            steps=budget.steps(300),
            batch=16,
            seed=seed,
        )[LENGTH]
        found[FORMS] = steps_apart(recipe.layer().double(), torch.randn(2, 100, DIM).double())
    return found


def _training_seconds(layer: nn.Module) -> float:
    x, weights = torch.randn(8, 1024, DIM), list(layer.parameters())
    return median_seconds(
        lambda: torch.autograd.grad(layer(x)[0].sum(), weights, allow_unused=True),
        least=5,
        seconds=1,
    )
