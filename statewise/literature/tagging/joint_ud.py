"""A lemma spelled from a tagger's state is right for new words where their letters do not tell.

Arakelyan, Hambardzumyan and Khachatrian, "Towards JointUD: Part-of-speech Tagging and
Lemmatization using Recurrent Neural Networks", 2018, arXiv:1809.03211, sections 2 and 4.

Recipe   sentences of made-up stems, of which those of the test are all new; "-ur" is a plural or a
         verb's ending, as the words before it say. A BiLSTM over words and their letters with a
         softmax over tags, with a speller of lemmas, or with both; beside it the same speller over
         a layer that reads each word by itself.
Weak     three endings of one made-up language, without exceptions, stand in for English treebanks.
         A word may get twice its letters and eight: two of "'d" are five in "would". Tried once, at
         seeds 100 to 102, as it stands: 0.984 of the lemmas, 0.843 of each word by itself.
"""

from itertools import chain
from typing import Any

from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.scores import class_report
from statewise.tasks.tagging.ambiguous_forms import ambiguous_forms
from statewise.training.tagger import Tagger

PAPER = 115
LEMMAS, TAGS = "accuracy of lemmas of new words", "accuracy of tags"
SAME, LONGEST = "share of lemmas that are the words", "letters of those that are allowed, at most"

RECIPES: dict[str, tuple[dict[str, Any], bool]] = {
    "tags": ({}, False),
    "tags and lemmas": ({}, True),
    "each word by itself": ({"mixer": "feed_forward", "both_ways": False}, True),
}
"""What reads the sentence, and whether lemmas are learned beside the tags."""

CLAIM = Claim(
    "Lemmas of new words are right more often than the words themselves, by 10 points or more, and "
    "than without the tagger's state; tags lose half a point at most; no word goes on and on.",
    (
        Check(
            "more than the word",
            ("tags and lemmas", LEMMAS), ">=", ("tags and lemmas", SAME), plus=0.1,
        ),
        Check(
            "the state tells", ("tags and lemmas", LEMMAS), ">=", ("each word by itself", LEMMAS)
        ),
        Check(
            "tags are as right",
            ("tags and lemmas", TAGS), ">=", ("tags", TAGS), plus=-0.005, paired=True,
        ),
        Check("they end", ("tags and lemmas", LONGEST), "<=", 1.0),
    ),
)  # fmt: skip


def measure(recipe: tuple[dict[str, Any], bool], budget: Budget, seed: int) -> dict[str, float]:
    """Return the accuracy of tags and lemmas on sentences of new stems."""
    options, spelled = recipe
    train, test = ambiguous_forms(600, 600, seed=seed)
    names = ("tags", "lemmas") if spelled else ("tags",)
    words = {"dim": 16, "grams": 0, "character_features": 32}
    tagger = Tagger(
        model={"hidden": 32, "dropout": 0.1, "words": words, **options}, output="softmax",
        data={"scheme": "none", "spelled": list(names[1:])}, max_steps=budget.steps(400),
        max_epochs=999, batch=16, evaluation={"steps": 100}, seed=seed, quiet=True,
    )  # fmt: skip
    labels = [{name: getattr(each, name) for name in names} for each in train]
    found = tagger.fit([each.words for each in train], labels).predict(
        [each.words for each in test]
    )
    said = {name: list(chain.from_iterable(each[name] for each in found)) for name in names}
    read, tags, lemmas = (list(chain.from_iterable(part)) for part in zip(*test, strict=True))
    measured = {TAGS: class_report(tags, said["tags"]).accuracy}
    if spelled:
        measured[LEMMAS] = class_report(lemmas, said["lemmas"]).accuracy
        measured[SAME] = class_report(lemmas, read).accuracy
        longest = (len(b) / (2 * len(a) + 8) for a, b in zip(read, said["lemmas"], strict=True))
        measured[LONGEST] = max(longest)
    return measured
