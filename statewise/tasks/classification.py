"""Classification: a text in, one of several classes out; read from JSON lines, CSV or TSV.

    {"text": "Where is my card?", "label": "card_arrival"}      JSON lines, by keys

    text,category                                               CSV, by the names in its first line:
    "Hello, where is my card?",card_arrival                     text and category

    card_arrival<TAB>Where is my "card"?                        TSV, by numbers: 2 and 1

What is not as it should be is a ValueError that begins with the file and the line; nothing is
skipped in silence.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from statewise.tasks.documents import check_characters, json_lines, read_lines


class Example(NamedTuple):
    """One text."""

    text: str
    """Not blank."""
    label: str | None
    """None where no labels were asked for."""
    line: int
    """Where it begins in the file, from 1."""


class Texts(NamedTuple):
    """The examples of a file, at least one."""

    path: str
    examples: list[Example]
    notes: tuple[str, ...]
    """One sentence each on what was left out, or looks odd."""


def read_texts(
    path: str | Path,
    text: str | int = "text",
    label: str | int | None = "label",
    *,
    encoding: str = "utf-8",
) -> Texts:
    """Return the texts of a file and what they are labelled, in the format that its name ends with.

    Args:
        path: of a file of JSON lines (`.jsonl`), TSV (`.tsv`), where nothing is quoted, or, if it
            ends otherwise, CSV, where quotes hold commas, line ends and doubled quotes; each gzip
            or not (`.gz`). Blank lines are no examples.
        text: of JSON the key; of the others a name in the first line or, if there are no names but
            the first line is an example too, a number, from 1.
        label: the same of the labels; they are not read if None. In JSON, numbers and booleans are
            labels as well.
        encoding: how the characters are written.

    Raises:
        ValueError: for a column that does not exist, a line with more or fewer columns than the
            others, an empty text or label, a file that `statewise.tasks.documents.read_lines`
            refuses, or one without any example.
        FileNotFoundError: if there is no such file.
    """
    name = str(path).removesuffix(".gz")
    if name.endswith(".jsonl"):
        lines, notes = read_lines(path, encoding)
        found = _json(path, json_lines(path, lines), text, label)
    elif name.endswith(".tsv"):
        lines, notes = read_lines(path, encoding)
        rows = ((number, line.split("\t")) for number, line in enumerate(lines, 1) if line)
        found = _table(path, rows, text, label)
    else:
        lines, notes = read_lines(path, encoding)
        found = _table(path, _records(path, "\n".join(lines)), text, label)
    examples: list[Example] = []
    for line, read, kind in found:
        for what, value in (("text", read), ("label", kind)):
            if value is not None and not value.strip():
                raise ValueError(f"{path}:{line}: the {what} is empty")
        examples.append(Example(read, kind, line))
    if not examples:
        raise ValueError(f"{path}: there is no example in it")
    first = examples[0]
    labels = Counter(example.label for example in examples)
    if isinstance(text, int) and label is not None and labels[first.label] == 1 < len(examples):
        notes += (
            f"{path}:{first.line}: {first.label!r} is the label of no other example; if it is the "
            "name of a column, ask for the columns by name",
        )
    return Texts(str(path), examples, notes)


Found = Iterator[tuple[int, str, str | None]]
"""The line, the text and the label of each example."""


def _json(
    path: str | Path,
    lines: Iterable[tuple[int, Any]],
    text: str | int,
    label: str | int | None,
) -> Found:
    for number, read in lines:
        value = read.get(text) if isinstance(read, dict) else None
        if not isinstance(value, str):
            raise ValueError(f"{path}:{number}: this is no object with a string {text!r}")
        kind = None if label is None else read.get(label)
        if label is not None and not isinstance(kind, str | int):
            raise ValueError(f"{path}:{number}: {label!r} should be a string or a whole number")
        kind = None if kind is None else str(kind)
        check_characters(path, number, value + (kind or ""))
        yield number, value, kind


def _table(
    path: str | Path,
    rows: Iterable[tuple[int, list[str]]],
    text: str | int,
    label: str | int | None,
) -> Found:
    table = list(rows)
    asked = [column for column in (text, label) if column is not None]
    if all(isinstance(column, int) for column in asked):
        widths = Counter(len(fields) for _, fields in table)
        width = widths.most_common(1)[0][0] if table else 0
        places = [column - 1 for column in asked if isinstance(column, int)]
        for column in asked if table else ():
            if column not in range(1, width + 1):
                raise ValueError(
                    f"{path}: there is no column {column}; they count from 1 to {width}"
                )
    else:
        line, names = table.pop(0) if table else (1, [])
        width, places = len(names), []
        for column in asked:
            if names.count(str(column)) != 1:
                raise ValueError(
                    f"{path}:{line}: there should be one column {column!r}; there are "
                    f"{', '.join(names)}"
                )
            places.append(names.index(str(column)))
    for number, fields in table:
        if len(fields) != width:
            raise ValueError(f"{path}:{number}: expected {width} columns, found {len(fields)}")
        yield number, fields[places[0]], None if label is None else fields[places[1]]


def _records(path: str | Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line where each record of CSV begins, and its fields; blank lines are none."""
    # One limit for the whole process, which is only ever raised: a text may be a book.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    # Only LF ends a line, so that lines are counted as editors count them.
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    line = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            why = "a quote is never closed" if "end of data" in str(error) else error
            raise ValueError(f"{path}:{line}: this is no CSV ({why})") from None
        if fields is None:
            return
        if fields:
            yield line, fields
        line = reader.line_num + 1
