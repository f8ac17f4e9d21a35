"""BiLSTM-CNNs-CRF: a convolution over characters tags new words, as well as an LSTM over them does.

Ma and Hovy, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", ACL 2016,
arXiv:1603.01354, sections 2 and 4.

Recipe   parts of speech in a made-up inflected language, three in ten of whose stems are new: 300
         sentences to learn from, 500 others. A BiLSTM of 16 from words alone, from words and a
         convolution over three of their characters with a maximum, with a CRF, and with an LSTM in
         place of the convolution.
Weak     a grammar of four parts of speech. No vectors learned beforehand, and no names: the
         paper's second task.

The row has the CRF no worse than without. It is put as half a point at most: most sentences have
one order that fits, which the BiLSTM reads too. At seeds 100 and 101 words alone had 0.56 and 0.55
on new words, and each of the others 0.99 or more.
"""

from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.tagging.inflected import inflected
from statewise.training.tagger import Tagger

PAPER = 96
ACCURACY, NEW = "accuracy", "accuracy on new words"

RECIPES: dict[str, tuple[str | None, str]] = {
    "words": (None, "softmax"),
    "words and convolution": ("convolution", "softmax"),
    "words, convolution and CRF": ("convolution", "crf"),
    "words, LSTM and CRF": ("lstm", "crf"),
}
"""What reads characters, and what chooses tags."""
WORDS, CNN, CRF, LSTM = RECIPES

CLAIM = Claim(
    "A convolution over characters raises the accuracy, on new words by 5 points or more; a CRF "
    "loses half a point of it at most, and an LSTM over characters has two points more at most.",
    (
        Check("characters help", (CNN, ACCURACY), ">=", (WORDS, ACCURACY)),
        Check("with new words most", (CNN, NEW), ">=", (WORDS, NEW), plus=0.05),
        Check(
            "the CRF is as good", (CRF, ACCURACY), ">=", (CNN, ACCURACY), plus=-0.005, paired=True
        ),
        Check("so is the convolution", (CRF, NEW), ">=", (LSTM, NEW), plus=-0.02, paired=True),
    ),
)


def measure(recipe: tuple[str | None, str], budget: Budget, seed: int) -> dict[str, float]:
    """Return the accuracy on other sentences, and on the words in them that are new."""
    characters, output = recipe
    learned, asked = (inflected(n, seed=2 * seed + i) for i, n in enumerate((300, 500)))
    words: dict[str, Any] = {
        "dim": 16, "grams": 0, "shape": False, "minimum": 1, "drop": 0.2,
        "characters": characters, "character_dim": 16, "character_features": 16,
    }  # fmt: skip
    tagger = Tagger(
        model={"words": words, "hidden": 16, "dropout": 0.2}, output=output, quiet=True, seed=seed,
        max_steps=budget.steps(400), max_epochs=999, batch=16, evaluation={"steps": 50},
        data={"scheme": "none"},
    ).fit([each.words for each in learned], [each.parts for each in learned])  # fmt: skip
    found = tagger.predict([each.words for each in asked])
    known = {word for each in learned for word in each.words}
    right = [
        (word in known, tag == part)
        for each, tags in zip(asked, found, strict=True)
        for word, part, tag in zip(each.words, each.parts, tags, strict=True)
    ]
    new = [is_right for is_known, is_right in right if not is_known]
    return {ACCURACY: sum(r for _, r in right) / len(right), NEW: sum(new) / len(new)}
