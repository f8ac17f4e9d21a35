"""Blocks that the input chooses track sums and pairs where diagonal recurrences guess.

Fan, Chi and Rudnicky, "Advancing Regular Language Reasoning in Linear Recurrent Neural Networks",
2023, arXiv:2309.07412, section 4: languages learned from short words and asked of long ones.

Recipe   one layer of blocks and a feed-forward layer after it, and no convolution, which could tell
         the first symbol of a word; sums modulo five from words of up to 20 symbols, asked at 100,
         and even pairs, which end as they begin, from up to 30, asked at 120. For sums columns have
         a Euclidean norm of one at most, for pairs the authors' norm, of power 1.2.
Weak     two of the paper's three languages: arithmetic modulo five without brackets is left out.
         One layer and one learning rate. All prefixes are told in training, and whole words are
         asked, as the paper does. The signed diagonal is DeltaNet with keys of one number.

A first record, of four blocks with the authors' norm throughout, was undecided: three stacks had
1.0, 0.32 and 0.57 of sums. All are right within the training length. Beyond it the state shrinks,
as a dense rotation whose columns have that norm does, and its beginning fades beside what is added.
At seeds 100 to 107, after 500 steps and with two blocks, a power of 1.2 had 0.18 to 1.0 at 100
symbols; at 104, 105 and 107 one of 1.5 had 1.0, 1.0 and 0.68, and 2 had 1.0 each time. Four blocks
and a power of 1 had 0.21 and 0.15. Of pairs, where the last symbol must not fade either, a power of
2 had 0.88 and 0.89. Where prefixes were asked too, of which the first are as short as those
learned, the signed diagonal kept 0.82 of sums; so whole words are asked.

A second record had all sums, but 0.71, 1.0 and 1.0 of pairs. All stacks are right at 30, most
at 60, and which are at 120 is chance. Tried at seeds 100 to 104: of 2,000 steps, one of three at
102 to 104; of two blocks, 1.0, 0.65, 1.0 and 0.97, or 1.0 at 101 after 2,000 steps; with a power of
1 or 1.1 0.48 to 0.76. Answers of blocks brought to one size: two of three with a power of 2, one of
three with 1.2. What the state keeps of its first symbol drifts, and words of 30 do not show it.
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
    "sums modulo 5, five times as long": (GroupWords(5, "cyclic"), 20, 100, 1500),
    "even pairs, four times as long": (Membership("even pairs"), 30, 120, 1000),
}
"""The words, the lengths of training and of questions, and the steps of training."""
SUMS, PAIRS = ASKED

SIGNS = {"name": "delta_net", "heads": 8, "key": 8, "width": 1, "negative_eigenvalues": True}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "blocks of 8": {
        SUMS: {"name": "block_diagonal", "block": 8, "hidden": 16, "power": 2.0},
        PAIRS: {"name": "block_diagonal", "block": 8},
    },
    "diagonal, -1 to 1": dict.fromkeys(ASKED, SIGNS),
    "diagonal, 0 to 1": {name: {"name": "min_gru"} for name in ASKED},
}
"""The mixer for each language."""
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


def measure(mixers: dict[str, dict[str, Any]], budget: Budget, seed: int) -> dict[str, float]:
    """Return how often answers are right beyond the training length, for each language."""
    found = dict[str, float]()
    for name, (task, length, asked, steps) in ASKED.items():
        model = stack([{"branches": [mixers[name], "feed_forward"]}], task, dim=DIM, depth=1)
        learn(model, task, length=length, steps=budget.steps(steps), seed=seed)
        found[name] = accuracy_by_length(model, LastAnswer(task), [asked], seed=seed)[asked]
    return found
