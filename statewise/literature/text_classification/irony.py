"""A classifier of words and one of letters err on different texts, and are right together.

Baziotis et al., "NTUA-SLP at SemEval-2018 Task 3: Tracking Ironic Tweets using Ensembles of Word
and Character Level Attentive RNNs", 2018, arXiv:1804.06659, sections 3 and 4.

Recipe   3,000 texts of a made-up language, in which 20 stems of each, with eight endings, denied or
         not, tell one of four emotions. One attentive BiLSTM reads words as wholes, one their
         letters by a convolution, and their probabilities are averaged, on 3,000 others; then every
         twentieth letter of these is another one.
Weak     emotions of a grammar in place of irony, which no grammar of ours has. The paper's model of
         letters reads a tweet letter by letter, ours word by word.

Tried: with asides in half of the texts and 4,000 of them, both were right on nearly all. With 40
stems, or 1,500 texts, one of the two had learned little and the other all, or lost to both
together. As it stands, both together have 0.973 to 0.991 at seeds 100 to 102, the better one 0.948
to 0.989, and wrong letters cost the one of letters 0.40 to 0.45 of what they cost the other.
"""

import random
from statistics import mean
from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.models.ensemble import Ensemble
from statewise.models.word_encoder import WHOLE_WORDS
from statewise.tasks.opinions import Opinions, misspelled
from statewise.tasks.scores import class_report
from statewise.training.classifier import Classifier

PAPER = 43
F1, BETTER, MEAN = "macro F1 of both", "above that of the better one", "above their mean"
LOST = "macro F1 lost where letters are wrong, "
WORDS, LETTERS, PAIR = "words", "letters", "two classifiers"
KINDS: dict[str, dict[str, Any]] = {
    WORDS: WHOLE_WORDS | {"dim": 48, "drop": 0.3},
    LETTERS: {"dim": 0, "character_features": 64, "grams": 0, "shape": False},
}
"""How a word is read."""
RECIPES = {PAIR: KINDS}

CLAIM = Claim(
    "Macro F1 of both together is that of the better one less 0.3 points or more, and half a point "
    "above the mean of the two; wrong letters cost the one of letters half of what they cost the "
    "one of words, at most.",
    (
        Check("both are as good as the better one", (PAIR, BETTER), ">=", -0.003),
        Check("and better than the mean", (PAIR, MEAN), ">=", 0.005),
        Check(
            "letters bear it",
            (PAIR, LOST + LETTERS), "<=", (PAIR, LOST + WORDS), times=0.5, paired=True,
        ),
    ),
)  # fmt: skip


def measure(recipe: dict[str, dict[str, Any]], budget: Budget, seed: int) -> dict[str, float]:
    """Return macro F1 of each and of both, and what misspelling costs."""
    language, draw = Opinions(seed, fillers=60, asides=0.0), random.Random(seed)
    train, test = (language.texts(n, seed=2 * seed + at) for at, n in enumerate((3000, 3000)))
    labels, clean = [each.emotion for each in test], [each.words for each in test]
    noisy = [[misspelled(word, draw, 0.05) for word in words] for words in clean]
    models = {
        name: Classifier(
            model={"hidden": 32, "dropout": 0.2, "words": words}, pooling=["attention"],
            max_steps=budget.steps(1500), max_epochs=999, batch=16, evaluation={"steps": 100},
            optimizer={"learning_rate": 0.01}, seed=seed, quiet=True,
        ).fit([each.words for each in train], [each.emotion for each in train]).model_
        for name, words in recipe.items()
    }  # fmt: skip

    def f1(model: Any, texts: list[list[str]]) -> float:
        return class_report(labels, model.predict(texts)).macro_f1

    each = {name: f1(model, clean) for name, model in models.items()}
    both = f1(Ensemble(list(models.values())), clean)
    lost = {LOST + name: each[name] - f1(model, noisy) for name, model in models.items()}
    return {F1: both, BETTER: both - max(each.values()), MEAN: both - mean(each.values()), **lost}
