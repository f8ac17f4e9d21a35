r"""Labels from patterns: what stands in a text says what it is, and is then taken away.

    #(happy|joy)\b<TAB>joy          a regular expression, a tab, a label; read from a file of lines
    #(angry|furious)\b<TAB>anger

    What a day #happy               joy      What a day
    What a day #happy #furious      two labels: left out
    What a day                      no label: left out

Distant supervision as Go, Bhayani and Huang have it, "Twitter Sentiment Classification using
Distant Supervision", 2009, section 2.2. Such labels are many and wrong now and then: learn from
them first, and from a few that are right then.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from statewise.tasks.documents import read_lines


class Found(NamedTuple):
    """A text that has a label."""

    place: int
    """Which of the texts it is, from 0."""
    text: str
    """Without what told its label."""
    label: str


class Patterns(NamedTuple):
    """What tells labels, at least one."""

    path: str
    labels: list[tuple[re.Pattern[str], str]]
    notes: tuple[str, ...]
    """One sentence each on what looks odd."""

    def find(self, texts: Iterable[str]) -> list[Found]:
        """Return the texts that have patterns of one label, and words beside them.

        Everything that a pattern of any label matches is taken away.
        """
        found = []
        for place, text in enumerate(texts):
            told, rest = set[str](), text
            for pattern, label in self.labels:
                rest, count = pattern.subn(" ", rest)
                if count:
                    told.add(label)
            rest = " ".join(rest.split())
            if len(told) == 1 and rest:
                found.append(Found(place, rest, told.pop()))
        return found


def read_patterns(path: str | Path, *, encoding: str = "utf-8") -> Patterns:
    """Return the patterns of a file; blank lines are none, and case does not count.

    Args:
        path: of the file, gzip or not.
        encoding: how the characters are written.

    Raises:
        ValueError: for a line without a pattern, a tab and a label, for what is no regular
            expression or matches where nothing stands, for a file without patterns, or one that
            `statewise.tasks.documents.read_lines` refuses.
        FileNotFoundError: if there is no such file.
    """
    lines, notes = read_lines(path, encoding)
    labels: list[tuple[re.Pattern[str], str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        written, tab, label = line.rpartition("\t")
        if not tab or not written or not label.strip():
            raise ValueError(f"{path}:{number}: expected a pattern, a tab and a label")
        try:
            pattern = re.compile(written, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"{path}:{number}: this is no regular expression ({error})") from None
        if pattern.search(""):
            raise ValueError(f"{path}:{number}: the pattern matches where nothing stands")
        labels.append((pattern, label.strip()))
    if not labels:
        raise ValueError(f"{path}: there is no pattern in it")
    return Patterns(str(path), labels, notes)
