"""Names are found better by a model that tags parts of speech with them, a linear CRF as well.

Thant, Nongpong, Thu, Aung, Wai and Oo, "myNER: Contextualized Burmese Named Entity Recognition with
Bidirectional LSTM and fastText Embeddings via Joint Training with POS Tagging", 2025,
arXiv:2504.04038, sections 4 and 5.

Recipe   an inflected made-up language, half of whose stems are new and in which names look like
         nouns: 1,500 sentences to learn from, 1,200 others. A CRF over what is linear in three
         words, or over a BiLSTM of 16, reads words and their n-grams and learns names, or names and
         parts of speech, with their genders, as one tag; then these without n-grams.
Weak     a grammar in place of Burmese, whose parts of speech have no gender; n-grams are learned
         with the tags, where the paper has vectors that fastText learned, frozen or not.

Tried: without genders parts of speech did not help the linear CRF, by -0.05 to 0.01, since what
tells is which words agree. As it stands, at seeds 100 and 101, it has 0.52 and 0.56 alone, 0.63 and
0.66 with them; the BiLSTM-CRF has 0.45 and 0.46 alone, and 0.70 twice.
"""

from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.tagging import Span, span_report
from statewise.tasks.tagging.inflected import inflected
from statewise.training.tagger import Tagger

PAPER = 80
ONLY, JOINT = "macro F1 of names alone", "macro F1 of names with parts of speech"
NEW, WHOLE = "macro F1 of new names, n-grams", "macro F1 of new names, whole words"

RECIPES: dict[str, dict[str, Any]] = {
    "linear CRF": {"mixer": {"name": "short_convolution", "width": 2}},  # two words, either way
    "BiLSTM-CRF": {"mixer": "lstm"},
}

CLAIM = Claim(
    "Tags of names and parts of speech in one raise the macro F1 of names by half a point and "
    "more, under a linear CRF and under a BiLSTM-CRF; n-grams raise that of new names by two.",
    tuple(
        Check(f"{what} help a {name}", (name, high), ">=", (name, low), plus=plus, paired=True)
        for name in RECIPES
        for what, high, low, plus in (("parts", JOINT, ONLY, 0.005), ("n-grams", NEW, WHOLE, 0.02))
    ),
)


def measure(recipe: dict[str, Any], budget: Budget, seed: int) -> dict[str, float]:
    """Return macro F1 on other sentences, of all names and of those with a new word."""
    train, test = (
        inflected(n, seed=2 * seed + i, names=0.4, new=0.5) for i, n in enumerate((1500, 1200))
    )
    known = {word for each in train for word in each.words}

    def found(joint: bool, grams: int) -> list[list[str]]:
        words = {"dim": 16, "grams": grams, "buckets": 4000, "characters": None, "shape": False}
        tagger = Tagger(
            model={"hidden": 16, "dropout": 0.2, **recipe, "words": {
                **words, "minimum": 1, "drop": 0.2}}, optimizer={"learning_rate": 0.01},
            max_steps=budget.steps(800), max_epochs=999, batch=16, evaluation={"steps": 50},
            data={"scheme": "none" if joint else "BIO"}, seed=seed, quiet=True,
        )  # fmt: skip
        tags = (
            map("{} {} {}".format, each.parts, each.genders, each.entities)
            if joint else each.entities
            for each in train
        )  # fmt: skip
        said = tagger.fit([each.words for each in train], [*map(list, tags)])
        return [[t.split()[-1] for t in x] for x in said.predict([each.words for each in test])]

    def new(sentence: int, name: Span) -> bool:
        return not known.issuperset(test[sentence].words[name.start : name.end])

    wanted, joint = [each.entities for each in test], found(True, 32)
    return {
        ONLY: span_report(wanted, found(False, 32)).macro_f1,
        JOINT: span_report(wanted, joint).macro_f1,
        NEW: span_report(wanted, joint, new).macro_f1,
        WHOLE: span_report(wanted, found(True, 0), new).macro_f1,
    }
