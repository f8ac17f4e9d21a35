"""Modular arithmetic: the value of an expression, modulo a number; here five.

tokens   ( 4 - ( - 3 * 2 ) ) =
targets  . . . . . . . . . . 0      4 + 6 is 10; only what follows = counts

With brackets around every operation the automaton that reads it needs a stack; without, * goes
before + and -, and a sum, a product and a sign are enough: a regular language. After Delétang et
al., "Neural Networks and the Chomsky Hierarchy", 2022, arXiv:2207.02098.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import add, mul, sub

import torch

from statewise.tasks.examples import Examples, chooser

OPERATIONS = {"+": add, "-": sub, "*": mul}


@dataclass(frozen=True)
class ModularArithmetic:
    """Expressions that are as long as is asked, = included.

    An expression of numbers, signs and operations that does not fill its length otherwise begins
    with a sign, or has a pair of brackets around one number. How deep an expression nests is its
    difficulty, 0 without brackets.

    Args:
        modulus: numbers are 0 to modulus - 1, at least two.
        brackets: whether every operation stands in brackets; otherwise there are none.
    """

    modulus: int = 5
    brackets: bool = True

    def __post_init__(self) -> None:
        if self.modulus < 2:
            raise ValueError(f"modulus is {self.modulus}; numbers need one of 2 or more")

    @property
    def symbols(self) -> tuple[str, ...]:
        """The tokens as they are written."""
        return (*map(str, range(self.modulus)), *OPERATIONS, *("()" if self.brackets else ""), "=")

    @property
    def vocab(self) -> int:
        """Return the symbols: the answers are the numbers."""
        return len(self.symbols)

    @property
    def answers(self) -> int:
        """Return how many answers there are; zero is more likely than others, as products are."""
        return self.modulus

    def draw(self, batch: int, length: int, generator: torch.Generator) -> Examples:
        """Return `batch` expressions of `length` tokens.

        Raises:
            ValueError: for a length below 2: a number and = take two tokens.
        """
        if length < 2:
            raise ValueError(f"length is {length}; a number and = take 2 tokens")
        below = chooser(generator)
        number = {symbol: token for token, symbol in enumerate(self.symbols)}
        write = self._nested if self.brackets else self._flat
        rows, values, depths = [], [], []
        for _ in range(batch):
            words, value, depth = write(length - 1, below)
            rows.append([number[word] for word in words] + [number["="]])
            values.append(value % self.modulus)
            depths.append(depth)
        tokens = torch.tensor(rows, dtype=torch.long).reshape(batch, length)
        last = (torch.arange(length) == length - 1).expand(batch, length)
        value = torch.tensor(values, dtype=torch.long)[:, None]
        depth = torch.tensor(depths, dtype=torch.long)[:, None].expand(batch, length)
        return Examples(tokens, torch.where(last, value, tokens), last, depth)

    def _nested(self, length: int, below: Callable[[int], int]) -> tuple[list[str], int, int]:
        """Return the words of a bracketed expression, its value, and its depth."""
        if length < 5:
            value = below(self.modulus)
            sign = ["-"] if length % 2 == 0 else []
            words = [*sign, str(value)]
            value = -value if sign else value
            return (words, value, 0) if length < 3 else (["(", *words, ")"], value, 1)
        first = 1 + below(length - 4)
        left, a, deep = self._nested(first, below)
        operation = list(OPERATIONS)[below(3)]
        right, b, deeper = self._nested(length - 3 - first, below)
        value = OPERATIONS[operation](a, b) % self.modulus
        return ["(", *left, operation, *right, ")"], value, 1 + max(deep, deeper)

    def _flat(self, length: int, below: Callable[[int], int]) -> tuple[list[str], int, int]:
        """Return the words of an expression without brackets, its value, and its depth, none."""
        signed = length % 2 == 0
        product = below(self.modulus)
        words = ["-", str(product)] if signed else [str(product)]
        total, product = 0, -product if signed else product
        while len(words) < length:
            operation = list(OPERATIONS)[below(3)]
            operand = below(self.modulus)
            words += [operation, str(operand)]
            if operation == "*":
                product = product * operand % self.modulus
            else:
                total += product
                product = operand if operation == "+" else -operand
        return words, total + product, 0

    def solve(self, tokens: list[int]) -> list[int]:
        """Return the exact answers: a sum of products of numbers, signs and brackets."""
        words = iter([self.symbols[token] for token in tokens])
        value, _ = _total(next(words), words)
        return [*tokens[:-1], value % self.modulus]


def _total(word: str, words: Iterator[str]) -> tuple[int, str]:
    """Return the value of the sum that begins with `word`, and the word behind it."""
    total, word = _product(word, words)
    while word in ("+", "-"):
        sign = 1 if word == "+" else -1
        term, word = _product(next(words), words)
        total += sign * term
    return total, word


def _product(word: str, words: Iterator[str]) -> tuple[int, str]:
    product, word = _factor(word, words), next(words)
    while word == "*":
        product, word = product * _factor(next(words), words), next(words)
    return product, word


def _factor(word: str, words: Iterator[str]) -> int:
    if word == "-":
        return -_factor(next(words), words)
    return _total(next(words), words)[0] if word == "(" else int(word)
