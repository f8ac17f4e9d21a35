"""Languages learned in context: strings of one random automaton, and then the next symbol.

tokens   | c a | c | c d b a c | c
targets  c a . c . c d b a c . c d      the next symbol; which of the legal ones is chance
legal    c a . c . c a a a c . c a
           d         d b         d
strings  0 0 0 1 1 2 2 2 2 2 2 3 3      finished before, which is the difficulty

Every example has an automaton of its own, so that the language is in the context alone. Where a
string ends is drawn, whatever its state, and counts as no answer. After Akyürek et al., "In-context
language learning: architectures and algorithms", 2024, arXiv:2401.12973.

What is right is a set, so that no solver of tokens alone is exact: `legal` is, which knows the
automaton, and `scores` compares anyone's probabilities with it. `ngram` is the rival that the paper
finds inside of transformers: it counts what followed the last symbols in this context.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class RegularLanguages:
    """Random automata, and strings that walk them: every legal symbol as likely as another.

    Every state leads on, some may be out of reach, and a string may end in any.

    Args:
        symbols: letters 0 to symbols - 1; the next token, |, stands before every string.
        states: of an automaton, from and to; 0 is the first.
        letters: of them that one automaton uses, from and to.
        edges: out of a state at most; from 1 each number is as likely.
        longest: symbols of a string at most; from 1 each length is as likely.
    """

    symbols: int = 18
    states: tuple[int, int] = (4, 12)
    letters: tuple[int, int] = (4, 18)
    edges: int = 4
    longest: int = 20

    def __post_init__(self) -> None:
        for name in ("states", "letters"):
            least, most = getattr(self, name)
            if not 1 <= least <= most:
                raise ValueError(f"{name} is {(least, most)}; it goes up, from 1 or more")
        if self.letters[1] > self.symbols or self.edges > self.letters[0]:
            raise ValueError(
                f"edges is {self.edges}, letters is {self.letters} and symbols is {self.symbols}; "
                "no state has more edges than letters, and no automaton more letters than symbols"
            )
        if self.edges < 1 or self.longest < 1:
            raise ValueError(
                f"edges is {self.edges} and longest is {self.longest}; both need 1 or more"
            )

    @property
    def vocab(self) -> int:
        """Return the symbols and |."""
        return self.symbols + 1

    def languages(
        self, batch: int, generator: torch.Generator
    ) -> Int[Tensor, "batch state symbol"]:
        """Return an automaton for each row: the next state, or -1 for a symbol that is illegal."""

        def between(least: int, most: int, *shape: int) -> Int[Tensor, "..."]:
            return torch.randint(least, most + 1, shape, generator=generator)

        most = self.states[1]
        letters = between(*self.letters, batch, 1)
        order = torch.rand(batch, self.symbols, generator=generator).argsort(1).argsort(1)
        chances = torch.rand(batch, most, self.symbols, generator=generator)
        chances = chances.masked_fill((order >= letters)[:, None], 2.0)
        edges = chances.argsort(2).argsort(2) < between(1, self.edges, batch, most, 1)
        share = torch.rand(batch, most, self.symbols, dtype=torch.float64, generator=generator)
        target = (share * between(*self.states, batch, 1, 1)).long()
        return torch.where(edges, target, -1)

    def write(
        self,
        automata: Int[Tensor, "batch state symbol"],
        length: int,
        generator: torch.Generator,
    ) -> Examples:
        """Return an example of `length` tokens for each automaton."""
        batch = len(automata)
        strings = torch.randint(1, self.longest + 1, (batch, length + 1), generator=generator)
        starts = functional.pad((strings + 1).cumsum(1), (1, 0))
        begins = torch.zeros(batch, length + 1, dtype=torch.bool)
        begins.scatter_(1, starts.clamp(max=length), starts <= length)
        shares = torch.rand(batch, length + 1, dtype=torch.float64, generator=generator)
        tokens = torch.full((batch, length + 1), self.symbols)
        state, rows = torch.zeros(batch, dtype=torch.long), torch.arange(batch)
        for time in range(length + 1):
            legal = automata[rows, state] >= 0
            which = (shares[:, time] * legal.sum(1)).long()
            symbol = (legal.cumsum(1) > which[:, None]).long().argmax(1)
            walked = automata[rows, state, symbol]
            tokens[:, time] = torch.where(begins[:, time], self.symbols, symbol)
            state = torch.where(begins[:, time], 0, walked)
        finished = begins[:, :-1].cumsum(1) - 1
        return Examples(tokens[:, :-1], tokens[:, 1:], ~begins[:, 1:], finished)

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, each of an automaton of its own."""
        return self.write(self.languages(batch, generator), length, generator)

    def legal(
        self, automata: Int[Tensor, "batch state symbol"], tokens: Int[Tensor, "batch time"]
    ) -> Bool[Tensor, "batch time vocab"]:
        """Return what may come next in a string, exactly; nothing after what is illegal."""
        batch, time_ = tokens.shape
        legal = torch.zeros(batch, time_, self.vocab, dtype=torch.bool)
        # One more state, without a way out, and | which leads to the first from everywhere.
        lost = functional.pad(automata, (0, 0, 0, 1), value=-1)
        steps = functional.pad(lost, (0, 1), value=0)
        state, rows = torch.zeros(batch, dtype=torch.long), torch.arange(batch)
        for time in range(time_):
            state = steps[rows, state, tokens[:, time]]
            legal[:, time, :-1] = lost[rows, state] >= 0
        return legal


def ngram(
    tokens: Int[Tensor, "batch time"], order: int, symbols: int
) -> Float[Tensor, "batch time vocab"]:
    """Return the probabilities of the next symbol by what followed in the same context before.

    Witten-Bell smoothing over shorter contexts (as `tasks.baselines.ngram_bits`), down to all
    symbols alike; | is never predicted.

    Args:
        tokens: symbols, and | as the number `symbols`.
        order: of the n-gram, the next symbol included: 1 looks at nothing, 2 at the last token.
        symbols: there are, without |.

    Raises:
        ValueError: for an order below 1.
    """
    if order < 1:
        raise ValueError(f"order is {order}; an n-gram has 1 symbol or more")
    _, time = tokens.shape
    followers = functional.one_hot(tokens[:, 1:], symbols + 1).double()
    followers[..., symbols] = 0
    probabilities = torch.full((*tokens.shape, symbols + 1), 1 / symbols, dtype=torch.float64)
    probabilities[..., symbols] = 0
    # same[b, t, s]: whether the context at t is that at s, whose follower has been read by then.
    same = torch.ones(time, time, dtype=torch.bool).tril(-1)[None, :, :-1]
    for back in range(order):
        if back:
            # There is no token before the first: -1 and -2 are equal to nothing.
            ago = functional.pad(tokens, (back - 1, 0), value=-1)[:, :time]
            than = functional.pad(tokens, (back - 1, 0), value=-2)[:, : time - 1]
            same = same & (ago[:, :, None] == than[:, None])
        counts = same.double() @ followers
        kinds = (counts > 0).sum(-1, keepdim=True)
        mixed = (counts + kinds * probabilities) / (counts.sum(-1, keepdim=True) + kinds)
        probabilities = torch.where(kinds > 0, mixed, probabilities)
    return probabilities.float()


class Scores(NamedTuple):
    """How good probabilities of the next symbol are."""

    legal: float
    """How often the likeliest symbol is legal."""
    distance: float
    """The total variation from the true distribution, from 0 to 1, on average."""
    nats: float
    """The mean cost of the symbols that came."""


def scores(
    probabilities: Float[Tensor, "batch time vocab"],
    legal: Bool[Tensor, "batch time vocab"],
    examples: Examples,
) -> Scores:
    """Return how good probabilities are where answers count, a model's or those of `ngram`."""
    given, legal = probabilities[examples.mask], legal[examples.mask]
    true = legal / legal.sum(-1, keepdim=True)
    hits = legal.gather(1, given.argmax(-1, keepdim=True))
    cost = -given.gather(1, examples.targets[examples.mask][:, None]).log()
    return Scores(
        hits.double().mean().item(),
        (given - true).abs().sum(-1).double().mean().item() / 2,
        cost.double().mean().item(),
    )
