"""A stack of states finds the spans that a CRF finds, and letters find names never seen before.

Lample, Ballesteros, Subramanian, Kawakami and Dyer, "Neural Architectures for Named Entity
Recognition", 2016, arXiv:1603.01360, sections 2 to 5.

Recipe   fillers, and names of one to three words that end as persons' or as places' names do, on
         stems that are new in the test. BiLSTMs over words, or over words and an LSTM in each
         direction over their letters, with a CRF or with transitions; and a stack of states, pushed
         onto, popped and pushed onto again.
Weak     a grammar of two kinds of names stands in for news; one word in ten has an ending of the
         other kind. Tried at seed 100: F1 0.26 by words, 0.90 by letters, 0.90 by transitions.
"""

import torch

from statewise.literature.paper import Budget, Check, Claim
from statewise.models.transitions import Transitions, Written
from statewise.state import leaves
from statewise.tasks.tagging.name_endings import name_endings
from statewise.training.tagger import Tagger

PAPER = 69
F1, OFF = "F1 of spans", "numbers that a pop leaves otherwise"

RECIPES: dict[str, tuple[bool, str] | None] = {
    "words, CRF": (False, "crf"),
    "letters too, CRF": (True, "crf"),
    "letters too, transitions": (True, "transitions"),
    "push and pop": None,
}
"""Whether letters are read, and what finds spans; the last one is the stack by itself."""

CLAIM = Claim(
    "A pop restores a state to the bit; letters add 3 points of F1 or more where names are new; "
    "transitions find spans within 5 points of a CRF.",
    (
        Check("a pop restores", ("push and pop", OFF), "<=", 0.0),
        Check(
            "letters tell", ("letters too, CRF", F1), ">=", ("words, CRF", F1), plus=0.03
        ),
        Check(
            "as a CRF does",
            ("letters too, transitions", F1), ">=", ("letters too, CRF", F1), plus=-0.05,
        ),
    ),
)  # fmt: skip


def measure(recipe: tuple[bool, str] | None, budget: Budget, seed: int) -> dict[str, float]:
    """Return F1 of spans on new names, or how many numbers of a state are not as they were."""
    if recipe is None:
        torch.manual_seed(seed)
        lstm = Transitions(16, [Written(1, 1, 1, 1, -1)], 0).stack
        states, kept = [lstm.initial_state(1)], list[torch.Tensor]()
        for word in torch.randn(9, 1, 16):
            states.append(lstm.step(word, states[-1])[1])
            kept = kept or [leaf.clone() for leaf in leaves(states[-1]).values()]
        del states[2:]
        popped = zip(leaves(states.pop()).values(), kept, strict=True)
        return {OFF: float(sum((one != two).sum() for one, two in popped))}
    letters, output = recipe
    train, test = name_endings(600, 600, seed=seed)
    words = {
        "dim": 32, "grams": 0, "shape": False, "minimum": 1,
        "characters": "lstm" if letters else None, "character_features": 32,
    }  # fmt: skip
    tagger = Tagger(
        model={"hidden": 32, "dropout": 0.2, "words": words}, output=output, batch=16, seed=seed,
        data={"scheme": "BIO"}, max_steps=budget.steps(500), max_epochs=999,
        evaluation={"steps": 100}, quiet=True,
    ).fit(*train)  # fmt: skip
    return {F1: tagger.score(*test)}
