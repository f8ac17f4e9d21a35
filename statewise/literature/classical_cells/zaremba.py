"""Zaremba's dropout: between the layers of an LSTM it helps, on its way through time it does not.

Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization", 2014, arXiv:1409.2329,
sections 3 and 4.1.

Recipe   two layers of 128, which can learn their text by heart, read words of Python's manual, the
         2,000 most frequent ones, in 20 streams whose states are carried from 35 words to the next,
         for nine passes; the rate of plain descent halves from the fifth on. Dropout of 0.5 stands
         before each layer and before the head, or there and on what gates read of the last answer
         too, drawn anew at every word, or nowhere. The best reading of 21,000 held-out words
         counts. Both placements of dropout begin with the same weights and read the same words, so
         that they are compared seed by seed.
Weak     40,000 words of one manual, where the paper has a million of news and 650 units and more;
         its 78.4 on Penn Treebank is not to be had here. Our layers have a norm and a way around
         them.

The first record, of 54,000 words, ten passes and 6,000 held-out words, was undecided: at each of
its seeds dropout on all was 1 or 2 in 100 behind, and seeds are further apart than that. Hence
more held-out words, and pairs; the rest pays for them. Tried before this was committed, with ten
passes: 40.4 and 40.9 at seed 100, of 54,000 words, and 40.2 and 40.4 at 101, of 42,000, where none
had 47.0 and 47.7; with ten streams and six passes 40.8, 42.0 and 42.3: none by only 4 in 100.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear

from statewise.analysis.learning import descended, read_once
from statewise.literature.paper import Budget, Check, Claim
from statewise.mixers.base import Cell
from statewise.mixers.lstm import LSTM, LSTMState
from statewise.models.dropout import Dropout
from statewise.models.language_model import LanguageModel, LanguageModelConfig
from statewise.ops import cells
from statewise.tasks.language import Streams
from statewise.tasks.passages import words_of_manual

PAPER = 120
DIM, KNOWN, STREAMS, CONTEXT, RATE = 128, 2000, 20, 35, 0.5
BEST, GAP = "best held-out perplexity", "held-out over training perplexity, at the end"


class Everywhere(Cell[LSTMState]):
    """An LSTM whose gates miss units of its last answer, others at each word."""

    remembers = LSTMState

    def __init__(self, dim: int):
        super().__init__()
        self.dim = self.out = dim
        self.lstm = LSTM(dim)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return those of h and c."""
        return {"h": (self.dim,), "c": (self.dim,)}

    def forward(self, x: Tensor, *given: Any, **marks: Any) -> tuple[Tensor, LSTMState]:
        """Map a sequence; a mask is read with each input, for a cell that draws is a slow loop."""
        stays = dropout(torch.ones_like(x), RATE, self.training)
        return super().forward(torch.cat([x, stays], -1), *given, **marks)

    def cell(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Map one input, and the mask beside it."""
        (x, stays), weights = x.chunk(2, -1), self.lstm.weights(0)
        read = linear(x, weights.input, weights.input_bias)
        h, c = cells.LSTM.update(read, (state.h * stays, state.c), weights)
        return h, LSTMState(h, c)

    @classmethod
    def example(cls) -> "Everywhere":
        """Return a small instance."""
        return cls(4)


RECIPES = {"none": ("lstm", 0.0), "vertical": ("lstm", RATE), "all": ("everywhere", RATE)}
"""What the layers are, and the share that is dropped between them."""

CLAIM = Claim(
    "Dropout on vertical connections lowers the best held-out perplexity by 5 in 100, and is "
    "better than dropout on all; the gap between training and held-out text shrinks.",
    (
        Check("vertical beside none", ("vertical", BEST), "<=", ("none", BEST), 0.95),
        Check("vertical beside all", ("vertical", BEST), "<=", ("all", BEST), paired=True),
        Check("the gap shrinks", ("vertical", GAP), "<=", ("none", GAP)),
    ),
)


def measure(recipe: tuple[str, float], budget: Budget, seed: int) -> dict[str, float]:
    """Return the best perplexity on held-out words, and how far from it training is at the end."""
    mixer, rate = recipe  # weights and masks come from torch's own generator
    least = 2000 if budget is Budget.smoke else 40_000
    seen, held_out = words_of_manual(KNOWN)
    learned = Streams([seen.text[-least:]], streams=STREAMS, context=CONTEXT)
    others = [held_out.text[:least], seen.text[: least // 9 * 2]]
    asked = Streams(others, streams=STREAMS, context=CONTEXT)
    shape: Any = {"dim": DIM, "depth": 2, "convolution": 0, "expansion": 0, "tie": False}
    drops = Dropout(input=rate, layers=rate, output=rate)
    config = LanguageModelConfig(vocab=KNOWN, mixer=mixer, dropout=drops, **shape)
    own: Any = {"everywhere": Everywhere}
    model = LanguageModel(config, mixers=own if mixer in own else None)
    readings = descended(model, learned, asked, passes=budget.steps(9), rate=5.0)
    return {BEST: min(readings), GAP: readings[-1] / read_once(model, learned)}
