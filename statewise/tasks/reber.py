"""The embedded Reber grammar: whether a string is right so far, which its first choice decides.

tokens   . . . B T B T X S E T E      ends as it began, with a T
targets  . . . 1 1 1 1 1 1 1 1 1
tokens   . . . B T B P V V E P E
targets  . . . 1 1 1 1 1 1 1 0 0      and this does not

A string is B, T or P, a string of Reber's grammar, the same T or P again, and E. Half of them are
spoilt at one symbol: half of those at the second T or P, which nothing near tells, and the others
anywhere. Blanks stand before a string, and every symbol of it counts; `LastAnswer` asks for the
whole alone. Reber, "Implicit learning of artificial grammars", 1967; embedded as in Cleeremans,
Servan-Schreiber and McClelland, "Finite State Automata and Simple Recurrent Networks", 1989.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples, chooser

SYMBOLS = "BTPSXVE."

REBER = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
)
"""Where each symbol leads from each state of Reber's grammar, which ends in 7."""


def _within(first: int, outer: str) -> list[dict[str, int]]:
    """Return the states of Reber's grammar, counted from `first`, and the one that closes it."""
    moved = [{symbol: first + to for symbol, to in ways.items()} for ways in REBER]
    return [*moved, {outer: 18}]


EMBEDDED = ({"B": 1}, {"T": 2, "P": 10}, *_within(2, "T"), *_within(10, "P"), {"E": 19}, {}, {})
"""The same of the embedded grammar, which ends in 19; 20 is for strings that are wrong."""

SHORTEST = 9
"""Symbols of the shortest string."""


@dataclass(frozen=True)
class EmbeddedReber:
    """Strings of the language, and as many that are not."""

    vocab: int = len(SYMBOLS)
    answers: int = 2
    symbols: str = SYMBOLS
    """The tokens as they are written; the answers are 0 and 1."""

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` strings of up to `length` symbols.

        Raises:
            ValueError: for a length that no string fits into.
        """
        if length < SHORTEST:
            raise ValueError(f"length is {length}; an embedded string has {SHORTEST} or more")
        choose = chooser(generator)

        def grown() -> str:
            while True:
                state, word = 0, ""
                while EMBEDDED[state]:
                    symbol, state = [*EMBEDDED[state].items()][choose(len(EMBEDDED[state]))]
                    word += symbol
                if len(word) <= length:
                    return word

        def spoilt(word: str) -> str:
            if choose(2):
                return word[:-2] + ("P" if word[-2] == "T" else "T") + "E"
            other = word
            while all(right_so_far(other)):
                place = choose(len(word))
                other = word[:place] + SYMBOLS[choose(7)] + word[place + 1 :]
            return other

        words = [grown() if choose(2) else spoilt(grown()) for _ in range(batch)]
        rows = [[SYMBOLS.index(symbol) for symbol in word.rjust(length, ".")] for word in words]
        tokens = torch.tensor(rows).view(batch, length)
        targets = torch.tensor([self.solve(row) for row in rows]).view(batch, length)
        return Examples(tokens, targets, tokens < SYMBOLS.index("."))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers to one example; of blanks, 0."""
        word = "".join(SYMBOLS[token] for token in tokens).lstrip(".")
        return [0] * (len(tokens) - len(word)) + [int(right) for right in right_so_far(word)]


def right_so_far(word: str) -> list[bool]:
    """Return of each symbol whether what was read up to it begins a string of the language."""
    answers, state, wrong = list[bool](), 0, len(EMBEDDED) - 1
    for symbol in word:
        state = EMBEDDED[state].get(symbol, wrong)
        answers.append(state != wrong)
    return answers
