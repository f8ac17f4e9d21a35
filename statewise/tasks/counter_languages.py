"""Counter languages: words that are legal only if numbers agree, with no bound on the numbers.

The numbers of a word's letters, a^n b^n, or a^n b^n c^n and so on; here of two letters:

tokens   a a b b $ a b $ a a a b b b
targets  . . b $ . . $ . . . . . b $      the only legal next symbol: another b, or an end
n        2 2 2 2 2 1 1 1 3 3 3 3 3 3      the difficulty

Asked at the last two of each letter but the first: there the answer hangs on the number alone.
Elsewhere the targets are right too, with ? after the first letter, which may go on or not.

Shuffled brackets: each kind opens and closes whatever the others do; here of two kinds:

brackets ( [ ( ) ] ) [ (
sets     1 3 3 3 1 0 2 3      which may close: 1 for (, plus 2 for [; every one counts
open     1 2 3 2 1 0 1 2      brackets, the difficulty

After Gers and Schmidhuber, "LSTM recurrent networks learn simple context-free and context-sensitive
languages", 2001, and Suzgun et al., "LSTM networks can perform dynamic counting", 2019,
arXiv:1906.03648. a^n b^n takes one counter, a^n b^n c^n two, and shuffled brackets one a kind.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class EqualNumbers:
    """Words with equally many of each letter, one after another, each with $ behind it.

    A word's number is drawn from 1 to what one word has room for, each as likely as another: longer
    examples have larger numbers. Half of what counts goes on, but for numbers of 1.

    Args:
        letters: different ones in a word, at least two.
    """

    letters: int = 2

    def __post_init__(self) -> None:
        if self.letters < 2:
            raise ValueError(f"letters is {self.letters}; numbers of 2 or more can agree")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written, and ?."""
        return (*(chr(ord("a") + i) for i in range(self.letters)), "$", "?")

    @property
    def vocab(self) -> int:
        """Return the letters, $ and ?."""
        return self.letters + 2

    @property
    def answers(self) -> int:
        """Return how many answers count: the letters but the first, and $."""
        return self.letters

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` rows of words, the last cut off at `length` tokens.

        Raises:
            ValueError: for a length that has no room for one of each letter.
        """
        if length < self.letters:
            raise ValueError(f"length is {length}; one of each letter takes {self.letters}")
        words = length // (self.letters + 1) + 1
        most = length // self.letters
        n = 1 + torch.randint(most, (batch, words), generator=generator)
        runs = torch.cat(
            [n[..., None].expand(-1, -1, self.letters), torch.ones_like(n)[..., None]], 2
        )
        ends = runs.flatten(1).cumsum(1)
        at = torch.arange(length).expand(batch, length).contiguous()
        run = torch.searchsorted(ends, at, right=True)
        left = ends.gather(1, run) - 1 - at
        tokens = run % (self.letters + 1)
        goes_on = torch.where(tokens == 0, self.letters + 1, tokens)
        targets = torch.where(left == 0, (tokens + 1) % (self.letters + 1), goes_on)
        targets = torch.where(tokens == 0, self.letters + 1, targets)
        mask = (left < 2) & (tokens > 0) & (tokens < self.letters)
        return Examples(tokens, targets, mask, n.gather(1, run // (self.letters + 1)))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: count each letter, and compare it with the first."""
        numbers, answers = [0] * (self.letters + 1), []
        for token in tokens:
            numbers[token] += 1
            if token == self.letters:
                numbers = [0] * (self.letters + 1)
                answers.append(0)
            elif token == 0:
                answers.append(self.letters + 1)
            else:
                answers.append(token + 1 if numbers[token] == numbers[0] else token)
        return answers


@dataclass(frozen=True)
class ShuffledBrackets:
    """Beginnings of words of brackets of several kinds, each kind balanced for itself.

    At every step one kind is drawn. With none of it open it opens one; otherwise it closes one, in
    each row with a probability of its own, from 1/2 to 1: some wander far off, others stay near.

    Args:
        kinds: of brackets, from one to eight: kind i opens with 2 i and closes with 2 i + 1.
    """

    kinds: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.kinds <= 8:
            raise ValueError(f"kinds is {self.kinds}; there are from 1 to 8, as sets are answers")

    @property
    def vocab(self) -> int:
        """Return the symbols, brackets and sets together."""
        return max(2 * self.kinds, 2**self.kinds)

    @property
    def answers(self) -> int:
        """Return how many sets of kinds may close: a bit of the number for each."""
        return 2**self.kinds

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` beginnings of words, of `length` brackets."""
        kinds = torch.randint(self.kinds, (batch, length), generator=generator)
        eager = 0.5 + 0.5 * torch.rand(batch, 1, generator=generator)
        closes = torch.rand(batch, length, generator=generator) < eager
        numbers, rows = torch.zeros(batch, self.kinds, dtype=torch.long), torch.arange(batch)
        tokens, opened = torch.zeros_like(kinds), torch.zeros(batch, length, self.kinds)
        for time in range(length):
            kind = kinds[:, time]
            closing = closes[:, time] & (numbers[rows, kind] > 0)
            numbers[rows, kind] += torch.where(closing, -1, 1)
            tokens[:, time] = 2 * kind + closing
            opened[:, time] = numbers
        targets = ((opened > 0) * 2 ** torch.arange(self.kinds)).sum(-1)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        return Examples(tokens, targets, mask, opened.sum(-1).long())

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a counter for each kind."""
        numbers, answers = [0] * self.kinds, []
        for token in tokens:
            numbers[token // 2] += -1 if token % 2 else 1
            answers.append(sum(2**kind for kind, number in enumerate(numbers) if number))
        return answers
