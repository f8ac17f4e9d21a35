"""SCRN: slow units beside the simplest network read text as well as an LSTM, at fewer weights.

Mikolov, Joulin, Chopra, Mathieu and Ranzato, "Learning Longer Memory in Recurrent Neural Networks",
2014, arXiv:1412.7753, section 4.

Recipe   one layer of 64 units between embeddings and nothing else, on the words of the manual that
         every Python carries; SCRN has half as many slow units besides, which keep so much of
         themselves.
Weak     the thousand most frequent words of one small text, and Adam in place of the paper's SGD.
         The simple network is Elman's, with tanh, from an orthogonal start; SCRN's fast units are
         logistic, as in the paper.

Tried before: at seeds 100 and 101 all held as it is here. At seed 100, by SGD at a rate of 8 and in
as many steps SCRN is far behind, with 27.3 where Elman's network has 17.6 and the LSTM 16.6: a slow
unit takes up a twentieth of what it reads. On bytes, with a short convolution and a feed-forward
layer around each, Elman's network took 0.7 percent fewer bits: the 20 that slow units keep are few
words. Of twice the words, in 300 steps at 3e-3, SCRN was 2 percent ahead of Elman's network and 7
behind the LSTM.
"""

from typing import Any

from statewise.analysis.learning import learned_bits
from statewise.literature.paper import Budget, Check, Claim
from statewise.tasks.passages import words_of_manual

PAPER = 98
PERPLEXITY = "perplexity of a word"
UNITS, WORDS, LENGTH = 64, 1000, 50

Layers = list[str | dict[str, Any]]


def alone(**mixer: Any) -> Layers:
    """Return a layer of this mixer and nothing else."""
    return [{"branches": [mixer]}]


RECIPES = {
    "Elman": alone(name="elman"),
    **{
        f"SCRN, keeps {alpha}": alone(name="scrn", slow=UNITS // 2, alpha=alpha)
        for alpha in (0.0, 0.5, 0.95)
    },
    "LSTM": alone(name="lstm"),
}
ELMAN, LSTM = ("Elman", PERPLEXITY), ("LSTM", PERPLEXITY)
SCRN, FORGETFUL = (("SCRN, keeps 0.95", PERPLEXITY), ("SCRN, keeps 0.0", PERPLEXITY))

CLAIM = Claim(
    "At the same number of units SCRN's perplexity is at least 3 percent below the simple "
    "network's and at most 5 percent above the LSTM's; where slow units keep nothing, it is not 3 "
    "percent below.",
    (
        Check("below the simple network", SCRN, "<=", ELMAN, times=0.97, paired=True),
        Check("near the LSTM", SCRN, "<=", LSTM, times=1.05, paired=True),
        Check("not without memory", FORGETFUL, ">=", ELMAN, times=0.97, paired=True),
    ),
)


def measure(layers: Layers, budget: Budget, seed: int) -> dict[str, float]:
    """Return the perplexity of passages that were held out."""
    options: Any = {"steps": budget.steps(500), "batch": 32, "learning_rate": 1e-2, "seed": seed}
    texts = words_of_manual(WORDS)
    bits = learned_bits(layers, length=LENGTH, dim=UNITS, depth=1, texts=texts, **options)
    return {PERPLEXITY: 2**bits}
