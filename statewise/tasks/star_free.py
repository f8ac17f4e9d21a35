"""Regular languages of the literature, star-free and not: whether each prefix is in the language.

Tomita's fourth, words without 000:

tokens   0 0 1 0 1 1 0 0 0 1
targets  1 1 1 1 1 1 1 1 0 0      every one counts

A language is star-free if letters, complements, unions and concatenations alone can write it. That
is so exactly where no word, repeated, counts modulo anything: where the syntactic monoid is
aperiodic (Schützenberger, "On finite monoids having only trivial subgroups", 1965). Star-free
languages are what masked hard attention recognizes, and diagonal recurrences with eigenvalues in
[0, 1] (Yang et al., 2023, arXiv:2310.13897; Sarrof et al., 2024, arXiv:2405.17394).

Star-free: Tomita's 1, 2, 4 and 7; even pairs; D1, D2 and on, brackets that nest so deep; and those
named by expressions, but for (abab)*. Not star-free: Tomita's 3, 5 and 6, and (abab)*. After
Tomita, "Dynamic construction of finite-state automata from examples using hill-climbing", 1982, and
Bhattamishra et al., "On the ability and limitations of transformers to recognize formal languages",
2020, arXiv:2009.11264.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Automaton:
    """A deterministic automaton, minimal; it begins in state 0.

    Args:
        symbols: the letters, in the order of the tokens.
        steps: the next state, for each state and each letter.
        accepting: the states whose words are in the language.
    """

    symbols: str
    steps: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]

    @cached_property
    def star_free(self) -> bool:
        """Whether every word, repeated, ends in changing nothing: the monoid is aperiodic."""
        letters = list(zip(*self.steps, strict=True))
        monoid, new = set(letters), letters
        while new:
            longer = {tuple(letter[state] for state in word) for word in new for letter in letters}
            new = list(longer - monoid)
            monoid |= longer
        for word in monoid:
            power = word
            for _ in self.steps:
                power = tuple(word[state] for state in power)
            if power != tuple(word[state] for state in power):
                return False
        return True

    @cached_property
    def live(self) -> frozenset[int]:
        """The states from which a word of the language can still be reached."""
        live = set(self.accepting)
        for _ in self.steps:
            live |= {state for state, row in enumerate(self.steps) if live & set(row)}
        return frozenset(live)


def _nested(depth: int) -> Automaton:
    """Return D_depth: a opens, b closes, at most `depth` open; the last state has no way back."""
    lost = depth + 1
    inside = [(i + 1, i - 1 if i else lost) for i in range(depth)]
    return Automaton("ab", (*inside, (lost, depth - 1), (lost, lost)), frozenset({0}))


def _automaton(symbols: str, steps: str, accepting: set[int]) -> Automaton:
    """Return an automaton from a row of digits for each state."""
    rows = tuple(tuple(int(digit) for digit in row) for row in steps.split())
    return Automaton(symbols, rows, frozenset(accepting))


LANGUAGES: dict[str, Automaton] = {
    "tomita 1": _automaton("01", "10 11", {0}),
    "tomita 2": _automaton("01", "21 02 22", {0}),
    "tomita 3": _automaton("01", "01 20 34 21 44", {0, 1, 3}),
    "tomita 4": _automaton("01", "10 20 30 33", {0, 1, 2}),
    "tomita 5": _automaton("01", "12 03 30 21", {0}),
    "tomita 6": _automaton("01", "12 20 01", {0}),
    "tomita 7": _automaton("01", "01 21 23 43 44", {0, 1, 2, 3}),
    **{f"D{depth}": _nested(depth) for depth in (1, 2, 3, 4, 12)},
    "even pairs": _automaton("ab", "13 12 12 43 43", {0, 1, 3}),
    "(abab)*": _automaton("ab", "14 42 34 40 44", {0}),
    "{0,1,2}*02*": _automaton("012", "100 101", {1}),
    "{a,b}*d{b,c}*": _automaton("abcd", "0021 2112 2222", {1}),
    "aa*bb*cc*dd*ee*": _automaton("abcde", "16666 12666 62366 66346 66645 66665 66666", {5}),
}
"""By name. Tomita's: 1 is 1*; 2 is (10)*; 3 has no odd run of 0s right after an odd run of 1s; 4
has no 000; 5 has 0s and 1s each even in number; in 6 they agree modulo three; 7 is 0*1*0*1*. Even
pairs: unequal neighbours are even in number, which is so where a word ends as it begins."""


@dataclass(frozen=True)
class Membership:
    """Words, and of each prefix whether it is in a language: 1 or 0.

    Half of the examples are beginnings of words of the language, all beginnings as likely as each
    other. The other half are so up to a place drawn from all, where the first symbol stands after
    which no word of the language is left, where there is such a symbol; then come any symbols.

    Args:
        language: a name in `LANGUAGES`.
    """

    language: str = "tomita 4"
    answers: int = 2

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise ValueError(f"language is {self.language!r}; there are {', '.join(LANGUAGES)}")

    @property
    def automaton(self) -> Automaton:
        """The language's automaton."""
        return LANGUAGES[self.language]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written; the answers are 0 and 1."""
        return tuple(self.automaton.symbols)

    @property
    def vocab(self) -> int:
        """Return the symbols; there are two or more, as answers are."""
        return len(self.symbols)

    def _ways(self, length: int) -> Float[Tensor, "ends left state"]:
        """Return how many words of `left` symbols lead from a state to an end, up to a factor.

        The ends are to be live still, and to be lost by the last symbol and not before.
        """
        steps = torch.tensor(self.automaton.steps)
        live = torch.tensor([state in self.automaton.live for state in range(len(steps))])
        ways = [torch.stack([live, ~live]).double()]
        for _ in range(length - 1):
            more = ways[-1][:, steps].sum(2) * live
            # A factor changes no probability, and keeps long words from overflowing.
            ways.append(more / more.amax(1, keepdim=True).clamp(min=1))
        return torch.stack(ways, 1)

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` words of `length` symbols.

        Raises:
            ValueError: for a length of 0.
        """
        if length < 1:
            raise ValueError(f"length is {length}; a word that is asked about has 1 symbol or more")
        steps, (stay, lose) = torch.tensor(self.automaton.steps), self._ways(length)
        shares = torch.rand(batch, length, dtype=torch.float64, generator=generator)
        place = torch.randint(length, (batch, 1), generator=generator)
        place[torch.rand(batch, generator=generator) < 0.5] = -1
        tokens, states = (torch.zeros(batch, length, dtype=torch.long) for _ in range(2))
        state = torch.zeros(batch, dtype=torch.long)
        for time in range(length):
            to = steps[state]
            losing = lose[(place - time).clamp(min=0), to] * (place >= time)
            likely = torch.where(losing.any(1, keepdim=True), losing, stay[length - 1 - time, to])
            likely = torch.where(likely.any(1, keepdim=True), likely, 1.0)
            bounds = likely.cumsum(1)
            # Right of all bounds but the last: a symbol without ways has no width and is not met.
            symbol = (shares[:, time, None] * bounds[:, -1:] >= bounds[:, :-1]).sum(1)
            tokens[:, time] = symbol
            state = states[:, time] = steps[state, symbol]
        accepting = torch.tensor([s in self.automaton.accepting for s in range(len(steps))])
        return Examples(tokens, accepting[states].long(), torch.ones_like(tokens, dtype=torch.bool))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: follow the automaton."""
        state, answers = 0, []
        for token in tokens:
            state = self.automaton.steps[state][token]
            answers.append(int(state in self.automaton.accepting))
        return answers
