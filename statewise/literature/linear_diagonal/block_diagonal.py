"""Blocks that the input chooses track sums and pairs where diagonal recurrences guess.

Fan, Chi and Rudnicky, "Advancing Regular Language Reasoning in Linear Recurrent Neural Networks",
2023, arXiv:2309.07412, section 4: languages learned from short words and asked of long ones.

Recipe   one layer of 32 numbers and a feed-forward layer after it, and no convolution, which could
         tell the first symbol of a word; sums modulo five from words of up to 20 symbols, asked at
         100, and even pairs, which end as they begin, from up to 30, asked at 120.
Weak     two of the paper's three languages: arithmetic modulo five without brackets is left out.
         One layer and one learning rate. All prefixes are told in training, and whole words are
         asked, as the paper does. The signed diagonal is DeltaNet with keys of one number.

Tried before this was committed, at seed 100: 64 numbers after 1,500 steps, behind a convolution or
not, kept 0.79 of sums and all of pairs; 32 numbers kept 0.93 of sums after 2,000 steps, and all
after 2,500, at 3e-3 and at 1e-3. Where prefixes were asked too, of which the first are as short as
those learned, the signed diagonal kept 0.82 of sums; so whole words are asked.
"""

from typing import Any

from statewise.analysis.learning import accuracy_by_length, learn, stack
from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.examples import LastAnswer, Task
from statewise.tasks.group_words import GroupWords
from statewise.tasks.star_free import Membership

PAPER = 131
DIM = 32
ASKED: dict[str, tuple[Task, int, int, int]] = {
    "sums modulo 5, five times as long": (GroupWords(5, "cyclic"), 20, 100, 3000),
    "even pairs, four times as long": (Membership("even pairs"), 30, 120, 1000),
}
"""The words, the lengths of training and of questions, and the steps of training."""
SUMS, PAIRS = ASKED


def layer(**mixer: Any) -> list[str | dict[str, Any]]:
    """Return a layer of a mixer and no convolution before it."""
    return [{"branches": [mixer, "feed_forward"]}]


RECIPES = {
    "blocks of 8": layer(name="block_diagonal", block=8),
    "diagonal, -1 to 1": layer(
        name="delta_net", heads=8, key=8, width=1, negative_eigenvalues=True
    ),
    "diagonal, 0 to 1": layer(name="min_gru"),
}
BLOCKS, SIGNED, POSITIVE = RECIPES

CLAIM = Claim(
    "Blocks solve sums modulo five and even pairs at lengths five and four times those of "
    "training; of diagonals neither kind does.",
    (
        Check("blocks add", (BLOCKS, SUMS), ">=", 0.95),
        Check("a signed diagonal does not", (SIGNED, SUMS), "<=", 0.7),
        Check("a positive one does not", (POSITIVE, SUMS), "<=", 0.7),
        Check("blocks compare the ends", (BLOCKS, PAIRS), ">=", 0.95),
        Check("a signed diagonal does not", (SIGNED, PAIRS), "<=", 0.7),
        Check("a positive one does not", (POSITIVE, PAIRS), "<=", 0.7),
    ),
)


def measure(layers: list[str | dict[str, Any]], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right beyond the training length, for each language."""
    found = dict[str, float]()
    for name, (task, length, asked, steps) in ASKED.items():
        model = stack(layers, task, dim=DIM, depth=1)
        learn(model, task, length=length, steps=budget.steps(steps), seed=seed)
        found[name] = accuracy_by_length(model, LastAnswer(task), [asked], seed=seed)[asked]
    return found
