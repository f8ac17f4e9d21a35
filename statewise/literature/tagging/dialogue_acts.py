"""Dialogue acts: a reading over the conversation tells what no text says, and a CRF the order.

Kumar et al., "Dialogue Act Sequence Labeling using Hierarchical encoder with CRF", AAAI 2018,
arXiv:1709.04250, sections 3 and 4.

Recipe   dialogues of a grammar of six acts, in which "yeah" is an answer or an agreement by what it
         follows, a third of the texts says nothing and 15% of the labels are noise. One LSTM reads
         the words of a text, another the texts, or none does; 300 other dialogues are scored.
Weak     a grammar of a few words stands in for telephone talk. What the CRF gains is put on the
         order of acts, where the row looks for it; on the accuracy it may lose one point.
"""

from itertools import pairwise
from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.dialogues import FOLLOWS, ceiling, dialogues
from statewise.training.classifier import Classifier

PAPER = 122
NOISE, VAGUE = 0.15, 1 / 3
ACCURACY, BROKEN = "accuracy", "share of neighbours that the grammar forbids"
READING = {"hidden": 32, "dropout": 0.1}

RECIPES: dict[str, dict[str, Any] | None] = {
    "each text by itself": None,
    "conversation": {"conversation": READING, "output": "softmax"},
    "conversation and CRF": {"conversation": READING, "output": "crf"},
}
"""What is read over the texts, if anything."""

CLAIM = Claim(
    "Read in its conversation a text is classified better by 5 points or more; a CRF over it loses "
    "one point at most, halves the neighbours that the grammar forbids, and is right no more often "
    "than the noise of the labels allows.",
    (
        Check(
            "the conversation tells more",
            ("conversation", ACCURACY), ">=", ("each text by itself", ACCURACY), plus=0.05,
        ),
        Check(
            "the CRF is as good",
            ("conversation and CRF", ACCURACY), ">=", ("conversation", ACCURACY), plus=-0.01,
            paired=True,
        ),
        Check(
            "the CRF keeps the order",
            ("conversation and CRF", BROKEN), "<=", ("conversation", BROKEN), times=0.5,
            paired=True,
        ),
        Check("noise limits it", ("conversation and CRF", ACCURACY), "<=", ceiling(NOISE) + 0.03),
    ),
)  # fmt: skip


def measure(recipe: dict[str, Any] | None, budget: Budget, seed: int) -> dict[str, float]:
    """Return the accuracy on other dialogues, and how often acts break the grammar."""
    train, test = (
        dialogues(300, seed=2 * seed + part, noise=NOISE, vague=VAGUE) for part in range(2)
    )
    words = {"dim": 16, "grams": 0, "character_features": 8, "minimum": 1}
    classifier = Classifier(
        model={"words": words, **READING}, max_steps=budget.steps(500), max_epochs=1000, batch=16,
        evaluation={"steps": 100}, seed=seed, quiet=True, **(recipe or {}),
    )  # fmt: skip
    if recipe is None:
        flat = [pair for each in train for pair in zip(each.texts, each.labels, strict=True)]
        classifier.set_params(batch=96).fit([t for t, _ in flat], [a for _, a in flat])
        found = [classifier.predict(each.texts) for each in test]
    else:
        classifier.fit([each.texts for each in train], [each.labels for each in train])
        found = classifier.predict([each.texts for each in test])
    said = [(acts, each.labels) for acts, each in zip(found, test, strict=True)]
    right = [act == label for acts, labels in said for act, label in zip(acts, labels, strict=True)]
    pairs = [pair for acts in found for pair in pairwise(acts)]
    broken = sum(after not in FOLLOWS.get(before, ()) for before, after in pairs)
    return {ACCURACY: sum(right) / len(right), BROKEN: broken / len(pairs)}
