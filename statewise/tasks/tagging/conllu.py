"""CoNLL-U, the format of Universal Dependencies: ten columns, divided by tabs.

# text = It's late.
1-2  It's  _     _     _  _           _  _      _  _               a range: no word
1    It    it    PRON  _  Number=Sing 3  nsubj  _  _
2    's    be    AUX   _  Mood=Ind    3  cop    _  _
3    late  late  ADJ   _  Degree=Pos  0  root   _  SpaceAfter=No
4    .     .     PUNCT _  _           3  punct  _  _
                                                                   a blank line ends it
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from statewise.tasks.documents import read_lines
from statewise.tasks.tagging.sentences import Column, Corpus, Sentence, corpus

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Their names. After a dot, `feats` and `misc` take a key: `feats.Number`."""

NONE = "_"
"""What stands where there is nothing; so the tag of a word that lacks a key."""

Row = tuple[int, list[str]]
"""A line's number, and its columns."""


def read_conllu(
    path: str | Path, columns: Sequence[str] = ("upos",), *, encoding: str = "utf-8"
) -> Corpus:
    """Return the sentences of a CoNLL-U file; their words are its syntactic words.

    Ranges such as `1-2` and empty nodes such as `8.1` are no words, and counted in a note. A
    comment `# newdoc` begins a document.

    Args:
        path: of the file, gzip or not.
        columns: names of `COLUMNS`, or keys such as `feats.Number` and `misc.SpaceAfter`.
        encoding: how the characters are written.

    Raises:
        ValueError: for a column that does not exist or, a key excepted, in which no word has
            anything, for a file that `statewise.tasks.documents.read_lines` refuses, or a line that
            is not as it should be.
        FileNotFoundError: if there is no such file.
    """
    places = [_place(column) for column in columns]
    lines, notes = read_lines(path, encoding)
    sentences: list[Sentence] = []
    left_out: Counter[str] = Counter()
    document = 0
    for block in _blocks(path, lines):
        comments, words = _read(path, block, left_out)
        document += bool(sentences) and any(line[1:].split()[:1] == ["newdoc"] for line in comments)
        tags: dict[Column, tuple[str, ...]] = {}
        for column, (place, key) in zip(columns, places, strict=True):
            for number, fields in words:
                if not fields[place]:
                    raise ValueError(
                        f"{path}:{number}: column {column} is empty; {NONE} is for nothing"
                    )
            cells = (fields[place] for _, fields in words)
            tags[column] = tuple(_value(cell, key) if key else cell for cell in cells)
        numbers = tuple(number for number, _ in words)
        forms = tuple(fields[1] for _, fields in words)
        sentences.append(Sentence(forms, tags, {}, numbers, document))
    notes += tuple(f"{path}: {count} {what} are left out" for what, count in left_out.items())
    found = corpus(path, sentences, notes)
    for column, (_, key) in zip(columns, places, strict=True):
        if all(set(tags) == {NONE} for tags in found.tags(column)):
            if not key:
                raise ValueError(f"{path}: no word has anything in column {column}")
            found = found._replace(notes=(*found.notes, f"{path}: no word has {column}"))
    return found


def _place(column: str) -> tuple[int, str]:
    name, _, key = column.partition(".")
    if name not in COLUMNS or (key and name not in ("feats", "misc")):
        raise ValueError(
            f"there is no column {column!r} in CoNLL-U; there are {', '.join(COLUMNS)}, feats.KEY "
            "and misc.KEY"
        )
    return COLUMNS.index(name), key


def _blocks(path: str | Path, lines: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Yield the numbered lines between blank ones."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip(" \t"):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        # What is wrong with its lines is said first: it may be why there is no more.
        yield block
        raise ValueError(
            f"{path}:{len(lines)}: the file ends inside a sentence; a blank line should end it, or "
            "it is cut short"
        )


def _read(
    path: str | Path, block: list[tuple[int, str]], left_out: Counter[str]
) -> tuple[list[str], list[Row]]:
    """Return the comments and the words of a sentence, and count the lines that are neither."""
    comments: list[str] = []
    words: list[Row] = []
    reach = 0
    for number, line in block:
        at = f"{path}:{number}: "
        if line.startswith("#"):
            if words:
                raise ValueError(f"{at}a comment inside a sentence, which a blank line should end")
            comments.append(line)
            continue
        fields = line.split("\t")
        if len(fields) != len(COLUMNS):
            hint = "; columns are divided by tabs" if len(fields) == 1 else ""
            raise ValueError(f"{at}expected {len(COLUMNS)} columns, found {len(fields)}{hint}")
        kind = re.fullmatch(r"(\d+)(?:([-.])(\d+))?", fields[0], re.ASCII)
        if kind is None:
            raise ValueError(f"{at}{fields[0]!r} is no number of a word")
        if kind[2] == ".":
            left_out["empty nodes"] += 1
            continue
        if int(kind[1]) != len(words) + 1:
            hint = "; a blank line should stand between sentences" if kind[1] == "1" else ""
            raise ValueError(f"{at}expected word {len(words) + 1}, found {kind[1]}{hint}")
        if kind[2] == "-":
            left_out["ranges, whose words are read,"] += 1
            reach = int(kind[3])
            continue
        if not fields[1]:
            raise ValueError(f"{at}the form is empty")
        words.append((number, fields))
    if not words:
        raise ValueError(f"{path}:{block[0][0]}: the sentence has no words")
    if reach > len(words):
        raise ValueError(
            f"{path}:{block[-1][0]}: a range ends with word {reach}, and the sentence with word "
            f"{len(words)}"
        )
    return comments, words


def _value(cell: str, key: str) -> str:
    """Return the value of a key in `Key=Value|Key=Value`."""
    for pair in cell.split("|"):
        name, _, value = pair.partition("=")
        if name == key and value:
            return value
    return NONE
