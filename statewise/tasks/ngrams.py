"""An n-gram model of any symbols, bytes, characters or words: interpolated Kneser-Ney.

    p_n(w | h) = max(c(h w) - D_n, 0) / c(h) + D_n kinds(h) / c(h) p_{n-1}(w | h')
    p_0(w) = 1 / vocab

c counts at the highest order how often w follows h; below it, after how many different symbols h w
stands. c(h) is its sum over w, kinds(h) how many w follow h, and h' is h without its first symbol.
D_n = n_1 / (n_1 + 2 n_2), of how many c are 1 and 2. A context that was never seen leaves it to the
next shorter one. Before each text there are marks that nothing predicts.

Kneser and Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995; interpolated as in
Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1999, section
4.1.6, with one discount for each order.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

MARK = None
"""What stands before the first symbol of a text."""

DISCOUNT = 0.5
"""Where the counts tell none, as in a text so short or so regular that none is 1, or none is 2."""


class KneserNey:
    """What follows what in texts.

    Args:
        texts: sequences of symbols, such as bytes, a str, or a list of words. None is no symbol.
        order: symbols of the longest n-grams, the predicted one included.
        vocab: how many symbols there are, those that the texts lack included.

    Raises:
        ValueError: for an order below 1, texts without a symbol, or more kinds than vocab.
    """

    def __init__(self, texts: Iterable[Sequence[Hashable]], *, order: int, vocab: int):
        if order < 1:
            raise ValueError(f"KneserNey: order = {order} should be at least 1")
        self.order, self.vocab = order, vocab
        counts: Counter[tuple[Hashable, ...]] = Counter()
        for text in texts:
            symbols = (*[MARK] * (order - 1), *text)
            counts.update(symbols[i : i + order] for i in range(len(text)))
        kinds = len({ngram[-1] for ngram in counts})
        if not 1 <= kinds <= vocab:
            raise ValueError(f"KneserNey: vocab = {vocab}, but the texts have {kinds} symbols")
        self.levels = [_Level(counts)]
        while len(self.levels) < order:
            counts = Counter(ngram[1:] for ngram in counts)
            self.levels.append(_Level(counts))
        self.levels.reverse()  # the shortest first

    def probability(self, context: Sequence[Hashable], symbol: Hashable) -> float:
        """Return the chance that a symbol follows a context.

        Args:
            context: all that the text has before it, or at least its last `order` - 1 symbols.
            symbol: that may follow. What no text had is one of the vocabulary.
        """
        known = context[max(0, len(context) - self.order + 1) :]
        history = (*[MARK] * (self.order - 1 - len(known)), *known)
        chance = 1 / self.vocab
        for length, level in enumerate(self.levels):
            h = history[len(history) - length :]
            total = level.totals.get(h)
            if total is None:
                break
            seen = max(level.counts.get((*h, symbol), 0) - level.discount, 0.0)
            chance = (seen + level.discount * level.kinds[h] * chance) / total
        return chance

    def costs(self, text: Sequence[Hashable]) -> list[float]:
        """Return what each symbol of a text costs, in bits."""
        before = self.order - 1
        return [
            -math.log2(self.probability(text[max(0, i - before) : i], symbol))
            for i, symbol in enumerate(text)
        ]

    def perplexity(self, texts: Iterable[Sequence[Hashable]]) -> float:
        """Return 2 to the mean cost of a symbol."""
        costs = [cost for text in texts for cost in self.costs(text)]
        return 2 ** (sum(costs) / len(costs))


class _Level:
    """The n-grams of one length: their counts, and for each context their sum and their kinds."""

    def __init__(self, counts: Counter[tuple[Hashable, ...]]):
        self.counts = counts
        self.totals: Counter[tuple[Hashable, ...]] = Counter()
        for ngram, count in counts.items():
            self.totals[ngram[:-1]] += count
        self.kinds = Counter(ngram[:-1] for ngram in counts)
        times = Counter(counts.values())
        once, twice = times[1], times[2]
        self.discount = once / (once + 2 * twice) if once and twice else DISCOUNT
