"""Agreement: every verb has the number of its own noun, in nested or in crossing order.

nested    key  man  dogs  V  V  V      "the key that the man whom the dogs see holds is ..."
targets   .    .    p     s  s  .
crossing  key  man  dogs  V  V  V      as in Swiss German: the first noun's verb comes first
targets   .    .    s     s  p  .

A target stands before the verb that it is of: singular or plural. Verbs are read without their
number, so that no answer tells a later one. Each noun has a number of its own, and several words
have the same one. A sentence is as deep as it has nouns; all depths up to half of the length are as
likely, and what is left is blank. Depth is the difficulty. After Bernardy and Lappin, "Assessing
the Unitary RNN as an End-to-End Compositional Model of Syntax", 2022, arXiv:2208.05719.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from statewise.tasks.examples import Examples


@dataclass(frozen=True)
class Agreement:
    """Nouns, and then a verb for each.

    Args:
        order: whether the verbs of the last nouns come first, "nested", or last, "crossing".
        nouns: of each number. Tokens are the singular ones, the plural ones, the verb, the blank.
        shallowest: nouns of the shortest sentences.
    """

    order: Literal["nested", "crossing"] = "nested"
    nouns: int = 4
    shallowest: int = 1
    answers: int = 2

    def __post_init__(self) -> None:
        if self.order not in ("nested", "crossing"):
            raise ValueError(f"order is {self.order!r}; it is 'nested' or 'crossing'")
        if self.nouns < 1 or self.shallowest < 1:
            raise ValueError(
                f"nouns is {self.nouns} and shallowest {self.shallowest}; both are 1 or more"
            )

    @property
    def vocab(self) -> int:
        """Return the nouns, the verb and the blank."""
        return 2 * self.nouns + 2

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written; the answers are 0 and 1."""
        return (*(f"{number}{n}" for number in "sp" for n in range(self.nouns)), "V", ".")

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` sentences, of up to `length` tokens.

        Raises:
            ValueError: for a length that the shallowest sentences do not fit into.
        """
        if length < 2 * self.shallowest:
            raise ValueError(f"length is {length}; {self.shallowest} nouns and verbs need more")
        depth = torch.randint(self.shallowest, length // 2 + 1, (batch, 1), generator=generator)
        nouns = torch.randint(2 * self.nouns, (batch, length), generator=generator)
        place = torch.arange(length).expand(batch, -1)
        tokens = torch.where(place < 2 * depth, 2 * self.nouns, 2 * self.nouns + 1)
        tokens = torch.where(place < depth, nouns, tokens)
        which = place + 1 - depth  # of the verbs comes next, from 0
        of = depth - 1 - which if self.order == "nested" else which
        mask = (which >= 0) & (which < depth)
        numbers = nouns.gather(1, of.clamp(0, length - 1)) >= self.nouns
        return Examples(tokens, numbers.long(), mask, difficulty=depth.expand(-1, length))

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a stack, or a queue, of the nouns."""
        waiting, answers = list[int](), []
        depth = tokens.index(2 * self.nouns)
        for place, token in enumerate(tokens):
            if place < depth:
                waiting.append(int(token >= self.nouns))
            if place < depth - 1 or not waiting:
                answers.append(0)
            else:
                answers.append(waiting.pop(-1 if self.order == "nested" else 0))
        return answers
