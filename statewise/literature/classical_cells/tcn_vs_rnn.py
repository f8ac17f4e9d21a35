"""TCN vs RNN: plain dilated convolutions copy from further back and learn to add in fewer steps.

Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling", 2018, arXiv:1803.01271, sections 3 to 5.

Recipe   a convolutional network and an LSTM of 17,000 parameters each, between linear maps and by
         the same examples: copying five symbols over so many blanks, each delay learned anew, and
         the adding problem at 50 numbers; then one of 20,000 and a GRU on generated chorales.
Weak     lengths of a half and a quarter of the paper's; chorales made by rules, and not Bach's; no
         digits and no languages, where the paper sees less between them.

Tried before this was committed, at seeds 100 and 101: convolutions copy all over 100 blanks, the
LSTM 0.13 of it, and 0.5 over five; a frame costs 5.39 and 5.48 nats, the GRU 5.49 and 5.47.
At 100 numbers convolutions did not add within 800 steps at three rates; the LSTM, whose forget gate
starts open, did after 459 at one seed of two. So 50 are asked: at seed 100 the LSTM adds there
after 386 steps, and convolutions after 599. That part of the claim is expected not to hold.
"""

from typing import Any

from statewise.analysis.adding import Adder, first_below, learn_sums
from statewise.analysis.learning import Bare, accuracy_by_length, learn
from statewise.analysis.music import learned_chorales
from statewise.literature.paper import Budget, Check, Claim, at
from statewise.tasks.copying import Copying

PAPER = 116
ITEMS, DIM, DELAYS, ADDING = 5, 16, (5, 20, 50, 100), 1200
MEMORY, SUMS, COST = "blanks copied over", "steps to add", "nats per frame"
FAR = f"at {DELAYS[-1]} blanks: share right"

CONVOLUTIONS = {"name": "tcn", "hidden": 16, "blocks": 4, "width": 8}
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "TCN": (CONVOLUTIONS, {"name": "tcn", "hidden": 24, "blocks": 3, "width": 3, "dropout": 0.1}),
    "LSTM": ({"name": "lstm", "hidden": 56}, {}),
    "GRU": ({}, {"name": "gru", "hidden": 42}),
}
"""What copies and adds, and what plays."""

CLAIM = Claim(
    "At equal parameters and steps a convolutional network copies at least 90 percent over 100 "
    "blanks and over more than the LSTM, which is near chance there; it adds in fewer steps, and a "
    "frame of music costs it at most 0.1 nats more than the GRU.",
    (
        Check("the TCN copies", ("TCN", FAR), ">=", 0.9),
        Check("the LSTM does not", ("LSTM", FAR), "<=", 0.2),
        Check("the TCN remembers longer", ("TCN", MEMORY), ">=", ("LSTM", MEMORY), plus=1.0),
        Check("the TCN adds", ("TCN", SUMS), "<=", ADDING - 1.0),
        Check("the TCN adds sooner", ("TCN", SUMS), "<=", ("LSTM", SUMS), paired=True),
        Check("the TCN plays", ("TCN", COST), "<=", ("GRU", COST), plus=0.1, paired=True),
    ),
)


def measure(
    recipe: tuple[dict[str, Any], dict[str, Any]], budget: Budget, seed: int
) -> dict[str, float]:
    """Return how far back a model copies and how soon it adds, and what a frame costs a player."""
    mixer, player = recipe
    found = dict[str, float]()
    if mixer:
        recall = {delay: copied(mixer, delay, budget.steps(300), seed) for delay in DELAYS}
        found[MEMORY] = max((float(delay) for delay in DELAYS if recall[delay] >= 0.9), default=0.0)
        options: Any = {"batch": 32, "learning_rate": 2e-3, "seed": seed}
        errors = learn_sums(Adder(mixer, dim=DIM), length=50, steps=budget.steps(ADDING), **options)
        found |= {SUMS: float(first_below(errors, 0.01)), **at(recall, "blanks: share right")}
    if player:
        found[COST] = learned_chorales(player, steps=budget.steps(800), rates=(1e-2,), seed=seed)
    return found


def copied(mixer: dict[str, Any], delay: int, steps: int, seed: int) -> float:
    """Return the share of symbols that are right after so many blanks."""
    task, length = Copying(items=ITEMS), delay + 2 * ITEMS
    model, options = Bare(mixer, task, dim=DIM), {"learning_rate": 5e-3, "batch": 32}
    learn(model, task, steps=steps, length=length, first=length, seed=seed, **options)
    return accuracy_by_length(model, task, [length], seed=seed)[length]
