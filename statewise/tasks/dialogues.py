"""Dialogues: many texts say what they are for only beside those around them.

    greeting     hello
    question     did you go?
    answer       yeah             after a question, and nowhere else
    statement    it is cold
    agreement    yeah             the same word, after a statement or an answer
    closing      bye

`FOLLOWS` is the whole grammar. A share of the texts is vague, the same for all acts, and a share of
the labels is noise, any act at random: no classifier can be right more often than `ceiling` says.
"""

import random
from typing import NamedTuple

FOLLOWS = {
    "greeting": ("question", "statement"),
    "question": ("answer",),
    "answer": ("question", "statement", "agreement", "closing"),
    "statement": ("question", "statement", "agreement", "closing"),
    "agreement": ("question", "statement", "closing"),
}
"""Which acts may follow which, each as likely as another; after a closing nothing does."""

SAID = {
    "greeting": ("hello", "right, hello"),
    "question": ("did you go?", "is it cold?"),
    "answer": ("yeah", "right", "no, not yet"),
    "statement": ("it is cold", "we went there"),
    "agreement": ("yeah", "right", "I see"),
    "closing": ("bye", "right, bye"),
}
"""What is said for each act, each as likely as another."""

VAGUE = ("well", "hm")


class Dialogue(NamedTuple):
    """One dialogue."""

    texts: list[str]
    acts: list[str]
    """What each is for."""
    labels: list[str]
    """What an annotator says: the acts, but for noise."""


def ceiling(noise: float) -> float:
    """Return how often the acts themselves agree with the labels, in the mean."""
    return 1 - noise * (1 - 1 / len(SAID))


def dialogues(count: int, *, seed: int, noise: float = 0.0, vague: float = 0.0) -> list[Dialogue]:
    """Return dialogues; the same seed, the same ones.

    Args:
        count: how many.
        seed: of all of them.
        noise: the share of labels that are drawn from all acts.
        vague: the share of texts that say nothing of their act.
    """
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        acts = ["greeting"]
        while acts[-1] in FOLLOWS:
            acts.append(draw.choice(FOLLOWS[acts[-1]]))
        texts = [draw.choice(VAGUE if draw.random() < vague else SAID[act]) for act in acts]
        labels = [draw.choice(list(SAID)) if draw.random() < noise else act for act in acts]
        found.append(Dialogue(texts, acts, labels))
    return found
