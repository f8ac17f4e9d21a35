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
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
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
    conversation: str | None = None
    """None where no conversations were asked for."""


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
    conversation: str | int | None = None,
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
        conversation: the same of what tells a text's conversation from others.
        encoding: how the characters are written.

    Raises:
        ValueError: for a column that does not exist, a line with more or fewer columns than the
            others, an empty text or label, a file that `statewise.tasks.documents.read_lines`
            refuses, or one without any example.
        FileNotFoundError: if there is no such file.
    """
    name = str(path).removesuffix(".gz")
    columns = {"text": text, "label": label, "conversation": conversation}
    asked = {what: column for what, column in columns.items() if column is not None}
    if name.endswith(".jsonl"):
        lines, notes = read_lines(path, encoding)
        found = _json(path, json_lines(path, lines), asked)
    elif name.endswith(".tsv"):
        lines, notes = read_lines(path, encoding)
        rows = ((number, line.split("\t")) for number, line in enumerate(lines, 1) if line)
        found = _table(path, rows, asked)
    else:
        lines, notes = read_lines(path, encoding)
        found = _table(path, _records(path, "\n".join(lines)), asked)
    examples: list[Example] = []
    for line, read in found:
        for what, value in read.items():
            if not value.strip():
                raise ValueError(f"{path}:{line}: the {what} is empty")
        examples.append(Example(read["text"], read.get("label"), line, read.get("conversation")))
    if not examples:
        raise ValueError(f"{path}: there is no example in it")
    first = examples[0]
    labels = Counter(example.label for example in examples)
    if isinstance(text, int) and label is not None and labels[first.label] == 1 < len(examples):
        notes += (
            f"{path}:{first.line}: {first.label!r} is the label of no other example; if it is the "
            "name of a column, ask for the columns by name",
        )
    if conversation is not None:
        met = [example.conversation for example in examples]
        apart = sum(one != two for one, two in pairwise(met)) + 1 - len(set(met))
        if apart:
            notes += (f"{path}: some conversations stand in pieces, {apart} more than there are",)
    return Texts(str(path), examples, notes)


Found = Iterator[tuple[int, dict[str, str]]]
"""The line of each example, and what was asked for: its text, its label, its conversation."""


def _json(
    path: str | Path, lines: Iterable[tuple[int, Any]], asked: Mapping[str, str | int]
) -> Found:
    text = asked["text"]
    for number, read in lines:
        value = read.get(text) if isinstance(read, dict) else None
        if not isinstance(value, str):
            raise ValueError(f"{path}:{number}: this is no object with a string {text!r}")
        found = {"text": value}
        for what, column in asked.items():
            if what == "text":
                continue
            if not isinstance(read.get(column), str | int):
                raise ValueError(
                    f"{path}:{number}: {column!r} should be a string or a whole number"
                )
            found[what] = str(read[column])
        check_characters(path, number, "".join(found.values()))
        yield number, found


def _table(
    path: str | Path,
    rows: Iterable[tuple[int, list[str]]],
    asked: Mapping[str, str | int],
) -> Found:
    table = list(rows)
    if all(isinstance(column, int) for column in asked.values()):
        widths = Counter(len(fields) for _, fields in table)
        width = widths.most_common(1)[0][0] if table else 0
        places = [column - 1 for column in asked.values() if isinstance(column, int)]
        for column in asked.values() if table else ():
            if column not in range(1, width + 1):
                raise ValueError(
                    f"{path}: there is no column {column}; they count from 1 to {width}"
                )
    else:
        line, names = table.pop(0) if table else (1, [])
        width, places = len(names), []
        for column in asked.values():
            if names.count(str(column)) != 1:
                raise ValueError(
                    f"{path}:{line}: there should be one column {column!r}; there are "
                    f"{', '.join(names)}"
                )
            places.append(names.index(str(column)))
    for number, fields in table:
        if len(fields) != width:
            raise ValueError(f"{path}:{number}: expected {width} columns, found {len(fields)}")
        yield number, {what: fields[place] for what, place in zip(asked, places, strict=True)}


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


def conversations(texts: Texts) -> list[list[Example]]:
    """Return the texts of each conversation in their order, the conversations by their first."""
    found: dict[str | None, list[Example]] = {}
    for example in texts.examples:
        found.setdefault(example.conversation, []).append(example)
    return list(found.values())
