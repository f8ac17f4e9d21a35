"""Nested text: words between brackets that nest and quotes, for looking at what a network follows.

    hab "mo (lin da) re" fe [sil (ba) ko] ne

After every word an open bracket or quote may close, or another open; within quotes there may be
brackets, but within these no quotes. The same words stand inside and outside, so that nothing near
tells which of them is open. After the probes of Karpathy, Johnson and Li, "Visualizing and
Understanding Recurrent Networks", 2015, arXiv:1506.02078, which read the source of Linux.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from statewise.tasks.examples import chooser

PAIRS = {"(": ")", "[": "]", "{": "}", '"': '"'}
WORDS = (
    *("ba", "da", "fe", "hab", "ko", "lin", "mo", "ne"),
    *("pur", "re", "sil", "tam", "ud", "ven", "wo", "zik"),
)
CLOSES, OPENS, DEEPEST = 0.2, 0.2, 2
"""The chances of each after a word, and how many may be open."""


def nested_text(length: int, generator: torch.Generator, *, words: Sequence[str] = WORDS) -> str:
    """Return so many symbols of nested text, which may end within brackets.

    Args:
        length: in symbols.
        generator: decides which text.
        words: that stand in it, each as likely: with fewer of them there is less to guess.
    """
    choose, parts, waiting, written = chooser(generator), list[str](), list[str](), 0
    while written < length:
        share = choose(1000) / 1000
        if waiting and share < CLOSES and parts[-1] not in PAIRS:
            parts[-1] = parts[-1].rstrip()
            parts.append(PAIRS[waiting.pop()] + " ")
            written -= 1
        elif share >= 1 - OPENS and len(waiting) < DEEPEST:
            kinds = [kind for kind in PAIRS if kind != '"' or not waiting]
            waiting.append(kinds[choose(len(kinds))])
            parts.append(waiting[-1])
        else:
            parts.append(words[choose(len(words))] + " ")
        written += len(parts[-1])
    return "".join(parts)[:length]


def inside_quotes(text: str) -> Bool[Tensor, " time"]:
    """Return whether a quote is open after each symbol."""
    return torch.tensor([symbol == '"' for symbol in text]).cumsum(0) % 2 == 1


def closed_after(text: str) -> Int[Tensor, " time"]:
    """Return for each closing bracket how many symbols before it its own opened; 0 elsewhere.

    A bracket that opened before the text counts as none.
    """
    found, waiting = [0] * len(text), list[int]()
    for place, symbol in enumerate(text):
        if symbol in "([{":
            waiting.append(place)
        elif symbol in ")]}" and waiting:
            found[place] = place - waiting.pop()
    return torch.tensor(found)
