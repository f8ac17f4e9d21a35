"""Real-time recurrent learning: units that act on their own learn a cue that truncation misses.

Irie, Gopalakrishnan and Schmidhuber, "Exploring the Promise and Limits of Real-Time Recurrent
Learning", 2023, arXiv:2305.19044, sections 3 and 4.

Recipe   gradients carried forward beside those back through all time, in float64, over 5 to 40
         random steps; the bytes that each takes at 32 steps over those at 4; and a T-maze: a cue
         left or right, 20 steps of a corridor with signs that look like it and mean nothing, and a
         junction where the turn that the cue told is worth 1 and the other 0. Of each turn the log
         likelihood is raised by its return less 1/2, with exact gradients, or with those of the
         last 10 steps alone; both walk as many steps.
Weak     one layer, one turn for each walk, and half a return in the place of a critic. Weights
         change between walks and not within, so that sensitivities are never behind. DMLab, ProcGen
         and Atari are not here, nor what is left out between several layers.

Tried before, at seeds 100 and 101: exact gradients found the cue in every walk, truncated ones in
0.49 and 0.50 of them; errors were below 1e-15. Of 8 rows at a time the bytes back in time grew 3.3
times, since those of parameters count too, so there are 64.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from statewise.analysis.allocations import peak_bytes
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers import Cell, ParaLSTM
from statewise.mixers.elstm import ELSTM
from statewise.testing.agreement import distance
from statewise.training.online import RealTimeLearner

PAPER = 99
DELAY, WINDOW, BATCH, HIDDEN = 20, 10, 64, 32
EXACT, BYTES, RETURN = "error of gradients", "bytes at 8 times the steps", "return in the maze"

CLAIM = Claim(
    "Gradients carried forward are those through all time to 1e-6, in as many bytes at 32 steps as "
    "at 4, where those back through time take at least 4 times as many; in a maze whose cue is "
    "older than the window exact ones come to 0.9, and truncated ones to no more than chance.",
    (
        *(
            Check(f"{name} is exact", (f"{name}, gradients", EXACT), "<=", 1e-6)
            for name in ("eLSTM", "ParaLSTM")
        ),
        Check("forward, bytes stay", ("bytes, forward", BYTES), "<=", 1.1),
        Check("back in time, they grow", ("bytes, back in time", BYTES), ">=", 4.0),
        Check("exact gradients find the cue", ("maze, forward", RETURN), ">=", 0.9),
        Check("truncated ones do not", ("maze, truncated", RETURN), "<=", 0.6),
    ),
)


def forward_in_time(cell: Cell[Any], x: Tensor) -> None:
    """Add the gradients of the squares of all outputs, carried along."""
    learner = RealTimeLearner(cell)
    trace = learner.start(len(x))
    for now in x.unbind(1):
        y, trace, step = learner.step(now, trace)
        learner.backward(y.square().sum(), step)


def back_in_time(cell: Cell[Any], x: Tensor) -> None:
    """Add the same gradients, back through all steps."""
    cell(x)[0].square().sum().backward()


def gradients(kind: Callable[..., Cell[Any]], budget: Budget, seed: int) -> dict[str, float]:
    """Return how far the gradients by both ways are apart, at the most."""
    del budget  # nothing is trained
    generator, errors = torch.Generator().manual_seed(seed), []
    for _ in range(5):
        cell = kind(4, 8).double()
        time = int(torch.randint(5, 41, (1,), generator=generator))
        x, found = torch.randn(3, time, 4, dtype=torch.float64, generator=generator), []
        for way in (forward_in_time, back_in_time):
            cell.zero_grad()
            way(cell, x)
            grads = [p.grad.flatten() for p in cell.parameters() if p.grad is not None]
            found.append(torch.cat(grads))
        errors.append(distance(*found))
    return {EXACT: max(errors)}


def growth(way: Callable[[Cell[Any], Tensor], None], budget: Budget, seed: int) -> dict[str, float]:
    """Return how many times as many bytes are held at eight times the steps."""
    del budget, seed  # nothing is trained
    cell = ELSTM(4, 16)
    inputs = {time: torch.randn(64, time, 4) for time in (4, 32)}
    training = torch.enable_grad()(way)
    training(cell, inputs[4])  # what is made once is made before
    bytes_at = {time: peak_bytes(partial(training, cell, x)) for time, x in inputs.items()}
    return {BYTES: bytes_at[32] / bytes_at[4]}


def maze(exact: bool, budget: Budget, seed: int) -> dict[str, float]:
    """Return how often a walker turns right once it has learned."""
    cell, turn = ELSTM(3, HIDDEN, forget_bias=3.0), nn.Linear(HIDDEN, 2)
    optimizer = torch.optim.Adam([*cell.parameters(), *turn.parameters()], lr=1e-2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(budget.steps(400)):
        x, cue = walks(BATCH, generator)
        optimizer.zero_grad()
        (learn_exactly if exact else learn_truncated)(cell, turn, x, cue, generator)
        optimizer.step()
    x, cue = walks(1024, generator)
    with torch.no_grad():
        turned = turn(cell(x)[0][:, -1]).argmax(-1)
    return {RETURN: float((turned == cue).double().mean())}


def walks(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what walkers see, a sign and whether it is the cue or the junction, and their cues."""
    signs = torch.randint(2, (batch, DELAY + 2), generator=generator)
    x = torch.zeros(batch, DELAY + 2, 3)
    x[..., 0] = 2.0 * signs - 1
    x[:, 0, 1], x[:, -1, 0], x[:, -1, 2] = 1.0, 0.0, 1.0
    return x, signs[:, 0]


def blame(logits: Tensor, cue: Tensor, generator: torch.Generator) -> Tensor:
    """Return what is lowered so that turns become likelier by their return, less a half."""
    turned = torch.multinomial(logits.detach().softmax(-1), 1, generator=generator)
    returned = (turned[:, 0] == cue).float()
    return -((returned - 0.5) * log_softmax(logits, -1).gather(1, turned)[:, 0]).mean()


def learn_exactly(
    cell: Cell[Any], turn: nn.Linear, x: Tensor, cue: Tensor, generator: torch.Generator
) -> None:
    """Add the gradients of walks, carried along."""
    learner = RealTimeLearner(cell)
    trace = learner.start(len(x))
    for now in x[:, :-1].unbind(1):
        _, trace, _ = learner.step(now, trace)
    y, _, step = learner.step(x[:, -1], trace)
    loss = blame(turn(y), cue, generator)
    loss.backward(inputs=list(turn.parameters()), retain_graph=True)
    learner.backward(loss, step)


def learn_truncated(
    cell: Cell[Any], turn: nn.Linear, x: Tensor, cue: Tensor, generator: torch.Generator
) -> None:
    """Add the gradients of the last steps of walks."""
    with torch.no_grad():
        _, state = cell(x[:, :-WINDOW])
    y, _ = cell(x[:, -WINDOW:], state)
    blame(turn(y[:, -1]), cue, generator).backward()


RECIPES: dict[str, Callable[[Budget, int], dict[str, float]]] = {
    "eLSTM, gradients": partial(gradients, ELSTM),
    "ParaLSTM, gradients": partial(gradients, ParaLSTM),
    "bytes, forward": partial(growth, forward_in_time),
    "bytes, back in time": partial(growth, back_in_time),
    "maze, forward": partial(maze, True),
    "maze, truncated": partial(maze, False),
}


def measure(
    recipe: Callable[[Budget, int], dict[str, float]], budget: Budget, seed: int
) -> dict[str, float]:
    """Return what a recipe measures."""
    return recipe(budget, seed)
