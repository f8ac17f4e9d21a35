"""BiLSTM-CRF: what comes after a span tells its type, and a CRF keeps tags in their order.

Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, arXiv:1508.01991,
sections 2 and 4.

Recipe   fillers, and names of one to three words whose type only the word after them tells; one in
         ten words is noise. Four taggers of 16 units, and a CRF against all its paths.
Weak     a grammar of twenty words, without vectors to take away. Tried: 400 steps at seeds 100 and
         101, BiLSTM-CRF 0.861 and 0.848, BiLSTM 0.839 and 0.850; with 1,000 the gap is above 0.02.
"""

import random
from itertools import pairwise, product

import torch

from statewise.literature.paper import Budget, Check, Claim
from statewise.models import CRF
from statewise.tasks.tagging.schemes import follows
from statewise.training.tagger import Tagger

PAPER = 45
F1, BROKEN, OFF = "F1 of spans", "share of broken transitions", "largest difference of log Z"
NAMES, FILLERS = ("ann", "lee", "rose", "ulm", "bath"), ("we", "saw", "then", "the", "old", "and")
AFTER = {"PER": ("spoke", "smiled"), "LOC": ("station", "harbour")}

RECIPES: dict[str, tuple[bool, str] | None] = {
    "LSTM": (False, "softmax"),
    "BiLSTM": (True, "softmax"),
    "LSTM-CRF": (False, "crf"),
    "BiLSTM-CRF": (True, "crf"),
    "enumeration": None,
}
"""Whether it reads both ways, and its output; the last one is the CRF by itself."""

CLAIM = Claim(
    "A CRF sums over its paths as their enumeration does, to 1e-6; a BiLSTM finds more spans than "
    "an LSTM; with a CRF it loses half a point of F1 at most, and never breaks the scheme.",
    (
        Check("log Z is exact", ("enumeration", OFF), "<=", 1e-6),
        Check("the right side tells", ("BiLSTM", F1), ">=", ("LSTM", F1)),
        Check("no loss", ("BiLSTM-CRF", F1), ">=", ("BiLSTM", F1), plus=-0.005, paired=True),
        Check("no tag breaks the scheme", ("BiLSTM-CRF", BROKEN), "<=", 0.0),
    ),
)


def sentence(draw: random.Random) -> tuple[list[str], list[str]]:
    """Return words and tags."""
    words, tags = [], []
    for _ in range(draw.randrange(2, 5)):
        kind, size = draw.choice(list(AFTER)), draw.randrange(1, 4)
        before = draw.choices(FILLERS, k=draw.randrange(3))
        words += [*before, *draw.choices(NAMES, k=size), draw.choice(AFTER[kind])]
        tags += ["O"] * len(before) + [f"B-{kind}"] + [f"I-{kind}"] * (size - 1) + ["O"]
    return [word if draw.random() < 0.9 else draw.choice("uvw") for word in words], tags


def measure(recipe: tuple[bool, str] | None, budget: Budget, seed: int) -> dict[str, float]:
    """Return F1 on other sentences and how often tags break BIO, or how far off log Z is."""
    if recipe is None:
        torch.manual_seed(seed)
        crf, x = CRF(4).double(), torch.randn(5, 4, dtype=torch.float64)
        for parameter in crf.parameters():
            torch.nn.init.normal_(parameter)
        paths = torch.tensor(list(product(range(4), repeat=5)))
        scores = crf.score(x.expand(len(paths), 5, 4), paths)
        return {OFF: float((crf.log_partition(x[None])[0] - scores.logsumexp(0)).abs().detach())}
    draw = random.Random(seed)
    words, tags = map(list, zip(*(sentence(draw) for _ in range(1000)), strict=True))
    spelled = {"dim": 16, "grams": 0, "character_features": 8, "minimum": 1}
    tagger = Tagger(
        model={"hidden": 16, "dropout": 0.1, "both_ways": recipe[0], "words": spelled},
        output=recipe[1], max_steps=budget.steps(1000), max_epochs=999, batch=16, seed=seed,
        quiet=True, data={"scheme": "BIO"},
    ).fit(words[:300], tags[:300])  # fmt: skip
    steps = [pair for found in tagger.predict(words[300:]) for pair in pairwise(("O", *found))]
    broken = sum(not follows("BIO", *pair) for pair in steps)
    return {F1: tagger.score(words[300:], tags[300:]), BROKEN: broken / len(steps)}
