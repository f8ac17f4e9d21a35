"""Induction: what came after this symbol the last time it was here?

tokens      2 0 ? 1 0 2 ?
targets     . . . . . . 1      only the last counts

tokens      2 0 1 0 0 2 1
everywhere  . . . 1 0 0 0      every symbol counts that was here before

The first asks once, by a symbol of its own: Gu and Dao, "Mamba", 2023, arXiv:2312.00752, section
4.1.2, after Dao et al., "H3", 2022, arXiv:2212.14052, section 3.1. The second asks of every symbol:
Olsson et al., "In-context learning and induction heads", 2022, arXiv:2209.11895. How many tokens
back the answer stood is the difficulty.
"""

from dataclasses import dataclass

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Induction:
    """Symbols drawn with repetition.

    Args:
        answers: which there are, 0 to answers - 1; the question is the one after them.
        everywhere: whether every symbol asks, and there is no question. Among the first symbols the
            answers are then not quite equally likely: what is asked there is a repetition.
    """

    answers: int = 15
    everywhere: bool = False

    @property
    def vocab(self) -> int:
        """Return the symbols and the question."""
        return self.answers + 1

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` examples of `length` tokens, three or more."""
        if length < 3:
            raise ValueError(f"length is {length}; induction needs 3 tokens or more")
        tokens = torch.randint(self.answers, (batch, length), generator=generator)
        if not self.everywhere:
            first = torch.randint(length - 2, (batch, 1), generator=generator)
            tokens.scatter_(1, first, self.answers)
            tokens[:, -1] = self.answers
        rows = torch.arange(batch)
        targets, mask = tokens.clone(), torch.zeros_like(tokens, dtype=torch.bool)
        back = torch.zeros_like(tokens)
        # Where each symbol of each row was read last; -1 for nowhere.
        last = torch.full((batch, self.vocab), -1)
        for time in range(length):
            before = last[rows, tokens[:, time]]
            mask[:, time] = before >= 0
            targets[:, time] = tokens[rows, before + 1]
            back[:, time] = time - before - 1
            last[rows, tokens[:, time]] = time
        if not self.everywhere:
            mask[:, :-1] = False
        return Examples(tokens, targets, mask, difficulty=back)

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a dictionary of what came after each symbol."""
        after, answers = {}, []
        for at, token in enumerate(tokens):
            if at:
                after[tokens[at - 1]] = token
            answers.append(after.get(token, token))
        return answers
