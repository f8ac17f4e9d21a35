"""Different words: drawn one after another, each kept once."""

from collections.abc import Callable, Container, Sequence
from typing import TypeVar

Word = TypeVar("Word", bound=Sequence[str])


def different(make: Callable[[], Word], count: int, taken: Container[str] = ()) -> list[Word]:
    """Return different words, in the order in which each was first drawn.

    Args:
        make: draws a word: a string, or its syllables, of which the last ones drawn are kept.
        count: how many; `make` should be able to draw as many.
        taken: words that are passed over.
    """
    found: dict[str, Word] = {}
    while len(found) < count:
        word = make()
        if "".join(word) not in taken:
            found["".join(word)] = word
    return list(found.values())
