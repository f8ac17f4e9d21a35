"""Twelve stacked BiLSTMs learn where each reads all below it, and do not where it reads the last.

Ding et al., "Densely Connected Bidirectional LSTM with Applications to Sentence Classification",
2018, arXiv:1802.00889, sections 3 and 4.

Recipe   4,000 texts of a made-up language, good or bad by one telling word. Classifiers of 100,000
         parameters in their layers: twelve narrow ones that read all below, twelve that read the
         last, or two wide ones; mean pooling.
Weak     texts of a dozen words, and depth is not needed: two layers are enough. Tried at seeds 100
         and 101: loss 0.02 against 0.69, gradients 1.3 to 14 times as large by the start.
"""

from typing import Any

import torch

from statewise.literature.paper import Budget, Check, Claim
from statewise.models.word_encoder import WHOLE_WORDS
from statewise.tasks.opinions import Opinions
from statewise.training.classifier import Classifier

PAPER = 44
LOSS, ACCURACY, GRADIENT = "training loss, nats", "accuracy", "gradient of the first layer"

STARTS = 4  # of which the gradient is the geometric mean: it varies threefold among them

RECIPES: dict[str, dict[str, Any]] = {
    "twelve, dense": {"depth": 12, "hidden": 8, "wiring": "dense"},
    "twelve, plain": {"depth": 12, "hidden": 18},
    "two, plain": {"depth": 2, "hidden": 52},
}
"""How the layers are wired."""

CLAIM = Claim(
    "After as many steps the training loss of twelve plain layers is twice that of dense ones or "
    "more, which are as right as two layers, less a point; at the start the gradient of the dense "
    "ones' first layer is ten times as large.",
    (
        Check(
            "plain ones do not learn",
            ("twelve, plain", LOSS), ">=", ("twelve, dense", LOSS), times=2.0,
        ),
        Check("dense do", ("twelve, dense", ACCURACY), ">=", ("two, plain", ACCURACY), plus=-0.01),
        Check(
            "they are reached",
            ("twelve, dense", GRADIENT), ">=", ("twelve, plain", GRADIENT), times=10.0,
        ),
    ),
)  # fmt: skip


def measure(recipe: dict[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return the loss on what was learned, the accuracy on other texts, and the first gradient."""
    language = Opinions(seed, stems=8, fillers=60)
    train, test = (language.texts(n, seed=2 * seed + at) for at, n in enumerate((4000, 1500)))
    texts, labels = [each.words for each in train], [each.sentiment for each in train]
    words = WHOLE_WORDS | {"dim": 32}
    classifier = Classifier(
        model={"dropout": 0.0, "words": words, **recipe}, pooling=["mean"], batch=32,
        max_epochs=999, evaluation={"steps": 100}, quiet=True,
    )  # fmt: skip
    at, norms = torch.tensor([("bad", "good").index(label) for label in labels]), []
    for start in range(STARTS):
        still = {
            "max_steps": 1,
            "optimizer": {"learning_rate": 1e-12},
            "seed": STARTS * seed + start,
        }
        model = classifier.set_params(**still).fit(texts, labels).model_
        model.loss(model.spell(texts).batch(range(320)), at[:320]).div(320).backward()
        found = [parameter.grad for parameter in model.encoder.layers[0].parameters()]
        norms.append(torch.stack([x.norm() for x in found if x is not None]).norm())
    learned = classifier.set_params(
        max_steps=budget.steps(600), optimizer={"learning_rate": 5e-3}, seed=seed
    ).fit(texts, labels)
    sure = torch.stack(learned.model_.predict_proba(texts))[torch.arange(len(texts)), at]
    accuracy = learned.score([each.words for each in test], [each.sentiment for each in test])
    norm = torch.stack(norms).log().mean().exp()
    return {LOSS: float(-sure.log().mean()), ACCURACY: accuracy, GRADIENT: float(norm)}
