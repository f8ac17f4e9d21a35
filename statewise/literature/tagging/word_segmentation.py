"""Word segmentation: a tuned BiLSTM finds words without spaces, and misses those that are new.

Ma, Ganchev and Weiss, "State-of-the-art Chinese Word Segmentation with Bi-LSTMs", EMNLP 2018,
arXiv:1808.06511, sections 2 and 4.

Recipe   a made-up script of 120 characters, 400 common words and names that are mostly new; 300
         sentences to learn from, 600 others. BiLSTMs tag characters as beginnings, middles and ends
         of words: untuned, with neither dropout nor pairs of neighbours, tuned with both, and tuned
         with two layers; and the longest match from the left in the words that were learned from.
Weak     no corpus: names are the only new words, and all are made alike. Vectors are not learned
         beforehand. Two layers stand for a fancier encoder.

Tried: at seeds 100 and 101 the longest match has an F1 of 0.77, the untuned BiLSTM 0.87, the tuned
one 0.92 and 0.91, and two layers 0.93; known words are ahead by 0.30 and 0.24, then 0.24 and 0.23.
"""

from collections.abc import Sequence
from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.tagging import boundaries, longest_matches, segmentation_report
from statewise.tasks.tagging.unspaced import unspaced
from statewise.training.tagger import Tagger

PAPER = 59
F1, GAP = "F1 of words", "recall of known words above that of new ones"

RECIPES: dict[str, tuple[bool, int] | None] = {
    "longest match": None,
    "BiLSTM": (False, 1),
    "BiLSTM, tuned": (True, 1),
    "BiLSTM, tuned, two layers": (True, 2),
}
"""Whether there are dropout and pairs, and how many layers; the first one is no network."""
MATCH, PLAIN, TUNED, DEEP = RECIPES

CLAIM = Claim(
    "Dropout and pairs of neighbours raise a BiLSTM's F1 by a point or more, and to 5 above the "
    "longest match; 10 points less of new words are found than of known ones, and a second layer "
    "closes less than a third of that.",
    (
        Check("tuning helps", (TUNED, F1), ">=", (PLAIN, F1), plus=0.01),
        Check("and beats a dictionary", (TUNED, F1), ">=", (MATCH, F1), plus=0.05),
        Check("new words are missed", (TUNED, GAP), ">=", 0.1),
        Check(
            "two layers do not find them", (DEEP, GAP), ">=", (TUNED, GAP), times=2 / 3, paired=True
        ),
    ),
)


def paired(characters: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return characters, each with what it makes with that before it and with that after it."""
    around = ["<", *characters, ">"]
    return [(b, a + b, b + c) for a, b, c in zip(around, around[1:], around[2:], strict=False)]


def measure(recipe: tuple[bool, int] | None, budget: Budget, seed: int) -> dict[str, float]:
    """Return F1 on other sentences, and how much more is found of words that are known."""
    learned, asked = (unspaced(n, seed=2 * seed + i) for i, n in enumerate((300, 600)))
    known = {word for sentence in learned for word in sentence}
    pieces, other = ([tuple("".join(words)) for words in some] for some in (learned, asked))
    tags, wanted = ([boundaries(map(len, words)) for words in some] for some in (learned, asked))
    if recipe is None:
        found = [longest_matches(characters, known) for characters in other]
    else:
        tuned, depth = recipe
        words = {"dim": 16, "feature_dim": 16, "grams": 0, "characters": None, "shape": False}
        model = {"words": words, "hidden": 32, "depth": depth, "dropout": 0.3 if tuned else 0.0}
        data: dict[str, Any] = {"scheme": "BMES", "features": ["before", "after"] if tuned else []}
        read = paired if tuned else list
        tagger = Tagger(
            model=model, output="softmax", max_steps=budget.steps(600), max_epochs=999, batch=16,
            evaluation={"steps": 50}, seed=seed, quiet=True, data=data,
        ).fit([read(each) for each in pieces], tags)  # fmt: skip
        found = tagger.predict([read(each) for each in other])
    report = segmentation_report(other, wanted, found, known)
    return {F1: report.words.f1, GAP: report.known.recall - report.unknown.recall}
