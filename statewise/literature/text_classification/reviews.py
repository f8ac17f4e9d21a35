"""A BiLSTM tells from a review whether something is recommended, better than a bag of its words.

Agarap, "Statistical Analysis on E-Commerce Reviews, with Sentiment Classification using
Bidirectional Recurrent Neural Network (RNN)", 2018, arXiv:1805.03687, sections 2 and 3.

Recipe   reviews of three texts in a made-up language, each good or bad by a word that may be
         denied: five in six reviews are good, and nine in ten of the texts of such. From two to
         five stars by how many are good; a good review recommends, but one in twenty. Two
         classifiers: recommended or not, and the stars as bad, neutral or good.
Weak     made-up reviews stand in for those of women's clothing, so that phi is of our making. Most
         are good, and weighted F1 is high for whoever always says yes: macro F1 stands beside it.

Tried: with asides in half of the texts and 2,000 reviews, both learned to say yes and no more. At
seeds 100 and 101, without asides, the BiLSTM had 0.893 and 0.894, the bag 0.76 and 0.79, yes 0.70.
"""

import random
from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.opinions import Opinions
from statewise.tasks.scores import class_report, phi
from statewise.training.classifier import Classifier

PAPER = 78
WEIGHTED, MACRO = "weighted F1, recommended", "macro F1, recommended"
RATED, ALWAYS, PHI = "weighted F1, rating", "weighted F1 of always yes", "phi of both"
RATINGS = ("bad", "neutral", "good", "good")
"""By how many of the texts are good."""

RECIPES: dict[str, tuple[dict[str, Any], str]] = {
    "BiLSTM": ({}, "max"),
    "bag of words": ({"mixer": "feed_forward", "both_ways": False}, "mean"),
}
"""What reads a review, and what makes a vector of it."""

CLAIM = Claim(
    "Weighted F1 of whether a review recommends is 0.85 or more, above that of always yes and of a "
    "bag of words; recommending goes with a good rating, at a phi of 0.6 and more.",
    (
        Check("it reads", ("BiLSTM", WEIGHTED), ">=", 0.85),
        Check("more than always yes", ("BiLSTM", WEIGHTED), ">=", ("BiLSTM", ALWAYS)),
        Check("more than a bag", ("BiLSTM", WEIGHTED), ">=", ("bag of words", WEIGHTED)),
        Check("both go together", ("BiLSTM", PHI), ">=", 0.6),
    ),
)


def measure(recipe: tuple[dict[str, Any], str], budget: Budget, seed: int) -> dict[str, float]:
    """Return the scores on other reviews, and how the two labels go together."""
    options, pooling = recipe
    draw, texts = random.Random(seed), {True: [], False: []}
    for text in Opinions(seed, stems=8, fillers=60, asides=0.0).texts(4000, seed=seed):
        texts[text.sentiment == "good"].append(text.words)
    words, rating, yes = [], [], []
    for _ in range(4000):
        good = draw.random() < 5 / 6
        kinds = [good == (draw.random() < 0.9) for _ in range(3)]
        words.append([word for kind in kinds for word in (*draw.choice(texts[kind]), ".")])
        rating.append(RATINGS[sum(kinds)])
        yes.append("yes" if good == (draw.random() < 0.95) else "no")
    classifier = Classifier(
        model={"hidden": 32, "dropout": 0.2, **options, "words": {
            "dim": 32, "grams": 0, "character_features": 32, "minimum": 1}},
        pooling=[pooling], max_steps=budget.steps(800), max_epochs=999, batch=32, seed=seed,
        evaluation={"steps": 100}, optimizer={"learning_rate": 0.01}, quiet=True,
    )  # fmt: skip
    found = [classifier.fit(words[:3000], y[:3000]).predict(words[3000:]) for y in (yes, rating)]
    one, two = (class_report(y[3000:], said) for y, said in zip((yes, rating), found, strict=True))
    together = phi([each == "yes" for each in yes], [each == "good" for each in rating])
    always = class_report(yes[3000:], ["yes"] * 1000)
    return {
        WEIGHTED: one.weighted_f1, MACRO: one.macro_f1, RATED: two.weighted_f1, PHI: together,
        ALWAYS: always.weighted_f1,
    }  # fmt: skip
