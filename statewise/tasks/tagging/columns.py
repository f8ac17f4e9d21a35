"""Files with a word and its tags on each line, as the shared tasks of CoNLL have them.

It      PRP  B-NP
is      VBZ  B-VP
late    JJ   B-ADJP
.       .    O
                          a blank line, or one of blanks alone, stands between sentences
-DOCSTART- -X- O          and such a line between documents
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from statewise.tasks.documents import read_lines
from statewise.tasks.tagging.sentences import Column, Corpus, Sentence, corpus

DOCUMENT = "-DOCSTART-"
"""The word of a line between documents."""

Row = tuple[int, list[str]]
"""A line's number, and its columns."""


def read_columns(
    path: str | Path,
    words: int = 1,
    columns: Sequence[int] = (-1,),
    *,
    separator: str | None = None,
    comment: str | None = None,
    encoding: str = "utf-8",
) -> Corpus:
    """Return the sentences of a file of columns, which count from 1, or from the last by -1.

    Args:
        path: of the file, gzip or not.
        words: the column of the words.
        columns: those of the tags.
        separator: what stands between columns. If absent, a tab where every line has one, else any
            number of spaces and tabs; which of them is told in a note.
        comment: how lines begin that are left out before a sentence, such as "# ".
        encoding: how the characters are written.

    Raises:
        ValueError: for a column that does not exist, a file that
            `statewise.tasks.documents.read_lines` refuses, or a line that has more or fewer columns
            than most.
        FileNotFoundError: if there is no such file.
    """
    lines, notes = read_lines(path, encoding)
    rows: list[tuple[int, str]] = []
    documents: list[int] = []
    comments, within = 0, False
    for number, line in enumerate(lines, start=1):
        if not line.strip(" \t"):
            within = False
        elif comment is not None and not within and line.startswith(comment):
            comments += 1
        elif line.startswith(DOCUMENT) and line.split()[0] == DOCUMENT:
            documents.append(number)
            within = False
        else:
            rows.append((number, line))
            within = True
    table, found = _split(rows, separator)
    notes += (f"{path}: columns are divided by {found}",)
    for count, what in ((len(documents), f"lines of {DOCUMENT}"), (comments, "comments")):
        if count:
            notes += (f"{path}: {count} {what} are left out",)
    _check(path, table, (words, *columns))
    groups: list[list[Row]] = []
    for number, fields in table:
        # A word of the same sentence stands in the line before it.
        if not groups or groups[-1][-1][0] != number - 1:
            groups.append([])
        groups[-1].append((number, fields))
    sentences = []
    first = table[0][0] if table else 0
    for group in groups:
        tags: dict[Column, tuple[str, ...]] = {column: _column(group, column) for column in columns}
        numbers = tuple(number for number, _ in group)
        document = bisect(documents, numbers[0]) - bisect(documents, first)
        sentences.append(Sentence(_column(group, words), tags, {}, numbers, document))
    return corpus(path, sentences, notes)


def _split(rows: list[tuple[int, str]], separator: str | None) -> tuple[list[Row], str]:
    """Return the columns of lines, and between which separators, in words, they stand."""
    if separator is not None:
        return [(number, line.split(separator)) for number, line in rows], repr(separator)
    tabs = sum("\t" in line for _, line in rows)
    if tabs == len(rows):
        return [(number, line.split("\t")) for number, line in rows], "tabs"
    # Not `split()`: other blanks, such as one that does not break, are part of a word.
    table = [(number, re.split("[ \t]+", line.strip(" \t"))) for number, line in rows]
    return table, "spaces and tabs" if tabs else "spaces"


def _check(path: str | Path, table: list[Row], columns: Sequence[int]) -> None:
    widths = Counter(len(fields) for _, fields in table)
    for width, _ in widths.most_common(1):
        for number, fields in table:
            if len(fields) != width:
                raise ValueError(f"{path}:{number}: expected {width} columns, found {len(fields)}")
        for column in columns:
            if column == 0 or not -width <= column <= width:
                raise ValueError(
                    f"{path}: there is no column {column}; they count from 1 to {width}, or from "
                    f"-1 to {-width}"
                )
            for number, fields in table:
                if not fields[column - (column > 0)]:
                    raise ValueError(f"{path}:{number}: column {column} is empty")


def _column(rows: list[Row], column: int) -> tuple[str, ...]:
    return tuple(fields[column - (column > 0)] for _, fields in rows)
