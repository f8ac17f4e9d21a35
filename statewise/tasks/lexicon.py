"""A lexicon: what is known of words beforehand, as numbers beside each; read from lines of text.

good<TAB>0.9<TAB>0.4
bad<TAB>-0.8<TAB>0.5          a word, a tab, and as many numbers, divided by tabs or blanks
New York<TAB>0 1

What is not as it should be is a ValueError that begins with the file and the line; nothing is
skipped in silence.
"""

import math
from pathlib import Path
from typing import NamedTuple

from statewise.tasks.documents import read_lines


class Lexicon(NamedTuple):
    """The words of a file, at least one."""

    path: str
    words: dict[str, tuple[float, ...]]
    """The numbers of each, as many and finite."""
    notes: tuple[str, ...]
    """One sentence each on what looks odd."""

    @property
    def numbers(self) -> int:
        """How many stand beside each word."""
        return len(next(iter(self.words.values())))


def read_lexicon(path: str | Path, *, encoding: str = "utf-8") -> Lexicon:
    """Return the words of a file and their numbers; blank lines are none.

    Args:
        path: of the file, gzip or not.
        encoding: how the characters are written.

    Raises:
        ValueError: for a line without a word, a tab and numbers, with more or fewer of them than
            the first, or with one that is not finite; for a word that stands there again with other
            numbers; for a file without words, or one that `statewise.tasks.documents.read_lines`
            refuses.
        FileNotFoundError: if there is no such file.
    """
    lines, notes = read_lines(path, encoding)
    words: dict[str, tuple[float, ...]] = {}
    count = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        word, tab, rest = line.partition("\t")
        if not tab or not word.strip():
            raise ValueError(f"{path}:{number}: expected a word, a tab and numbers")
        found = tuple(_number(f"{path}:{number}", field) for field in rest.split())
        count = count or len(found)
        if not count or len(found) != count:
            raise ValueError(
                f"{path}:{number}: expected {max(count, 1)} numbers, found {len(found)}"
            )
        if words.setdefault(word, found) != found:
            raise ValueError(f"{path}:{number}: {word!r} stood there before, with other numbers")
    if not words:
        raise ValueError(f"{path}: there is no word in it")
    return Lexicon(str(path), words, notes)


def _number(place: str, field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"{place}: {field!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{place}: {field!r} is not finite")
    return value
