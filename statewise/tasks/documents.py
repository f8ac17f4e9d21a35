"""Text as documents: read from files and folders, split by position, shuffled by a seed.

    poem.txt          one document, or several with a separator such as "\\n\\n\\n"
    poems.jsonl       one document a line: {"text": "to be or not to be", "author": "..."}
    poems/            every *.txt, *.txt.gz, *.jsonl and *.jsonl.gz in it and below, sorted by path

A document is what is read from the initial state: nothing of one tells anything of another.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch

ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")
"""The files of a folder that are read. A file that is named itself may end otherwise."""

MARK = "\ufeff"
"""The byte-order mark that some editors put before a text."""


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """Return the text of a file, unpacked first where it is gzip, whatever its name.

    Raises:
        ValueError: for a folder, an empty, binary or wrongly encoded file, or a damaged gzip.
        FileNotFoundError: if there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder; name a text file")
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged ({error})") from None
    if not data:
        raise ValueError(f"{path}: the file is empty")
    if b"\0" in data and not encoding.lower().startswith(("utf-16", "utf-32", "utf_16", "utf_32")):
        raise ValueError(
            f"{path}: this is a binary file, not text (a zero byte at offset {data.index(0)})"
        )
    try:
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"data.encoding: Python knows no encoding {encoding!r}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not {encoding}; "
            "name the right one with --data.encoding, such as latin-1"
        ) from None


def read_documents(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    separator: str | None = None,
    field: str = "text",
) -> list[str]:
    """Return the documents of a file or a folder, in their order, at least one; none is empty.

    Args:
        path: a text file, a file of JSON lines (`.jsonl`), either of them gzip or not, or a folder
            of files that end in `ENDINGS`.
        encoding: how the characters are written.
        separator: what stands between two documents of a text file, and belongs to neither; the
            file is one document if absent.
        field: the key of the text in a line of a `.jsonl` file.

    Raises:
        ValueError: for what `read_text` refuses, a line that is no object with a text, a file
            without any text, a folder without such files, or an empty separator.
        FileNotFoundError: if there is no such file.
    """
    if separator == "":
        raise ValueError("data.separator is empty; leave it out, or name what is between documents")
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.endswith(ENDINGS) and p.is_file())
        if not files:
            looked = ", ".join(f"*{ending}" for ending in ENDINGS)
            raise ValueError(f"{path}: nothing to read in this folder or below it ({looked})")
    else:
        files = [path]
    documents = []
    for file in files:
        text = read_text(file, encoding)
        if file.name.endswith((".jsonl", ".jsonl.gz")):
            pieces = list(_texts(file, text, field))
        else:
            pieces = [text] if separator is None else text.split(separator)
        if not any(pieces):
            raise ValueError(f"{file}: there is no document in it, or only empty ones")
        documents += filter(None, pieces)
    return documents


def _texts(path: Path, text: str, field: str) -> Iterator[str]:
    # Not `splitlines`: inside a JSON string U+2028 and its like may stand as they are.
    for number, read in json_lines(path, text.split("\n")):
        document = read.get(field) if isinstance(read, dict) else None
        if not isinstance(document, str):
            raise ValueError(
                f"{path}:{number}: this is no object with a string {field!r}; "
                "name its text with --data.field"
            )
        check_characters(path, number, document)
        yield document


def json_lines(path: str | Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of every line of JSON that is not blank.

    Args:
        path: of the file, for what is said of it.
        lines: of the file.

    Raises:
        ValueError: for a line that is no JSON.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", error)  # without its "line 1", which is that of the string
            raise ValueError(f"{path}:{number}: this is not JSON ({why})") from None
        yield number, read


def check_characters(path: str | Path, line: int, text: str) -> None:
    """Refuse a text from JSON that holds what is no character, by a ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{path}:{line}: the text has half a surrogate pair, not a character"
        ) from None


class Lines(NamedTuple):
    """The lines of a text, and what is worth saying of it."""

    lines: list[str]
    """Without their ends."""
    notes: tuple[str, ...]
    """One sentence each."""


def read_lines(path: str | Path, encoding: str = "utf-8") -> Lines:
    """Return the lines of a text file, which end in LF or CRLF.

    A byte-order mark at the beginning is left out, and told of, as are the other oddities of ends.

    Raises:
        ValueError: for what `read_text` refuses, a byte-order mark later on, or a CR that ends no
            line.
        FileNotFoundError: if there is no such file.
    """
    text = read_text(path, encoding)
    notes = []
    if text.startswith(MARK):
        notes.append(f"{path}: a byte-order mark at the beginning is left out")
        text = text[1:]
    if not text.endswith("\n"):
        notes.append(f"{path}: the last line has no end; perhaps the file is cut short")
    lines = text.removesuffix("\n").split("\n")
    returns = sum(line.endswith("\r") for line in lines)
    if returns:
        notes.append(f"{path}: {returns} of {len(lines)} lines end in CRLF")
        lines = [line.removesuffix("\r") for line in lines]
    for number, line in enumerate(lines, start=1):
        if line.startswith(MARK):
            raise ValueError(
                f"{path}:{number}: a byte-order mark inside the file, which seems to be put "
                "together from several"
            )
        if "\r" in line:
            raise ValueError(f"{path}:{number}: a CR inside the line; lines end in LF or CRLF")
    return Lines(lines, tuple(notes))


def split(documents: list[str], held_out: float) -> tuple[list[str], list[str]]:
    """Return the documents without the last part of the text, and that part.

    One document is cut; of several each stays whole: the border nearest to the share is taken, with
    at least one document on either side.

    Args:
        documents: at least one; if only one, of at least a few hundred characters.
        held_out: the share of the characters kept for evaluation, between 0 and 1, such as 0.1.

    Raises:
        ValueError: if a part of the only document would hold fewer than two characters.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"data.held_out is {held_out}; it should be between 0 and 1")
    if len(documents) == 1:
        [text] = documents
        cut = len(text) - round(len(text) * held_out)
        if cut < 2 or len(text) - cut < 2:
            raise ValueError(
                f"a text of {len(text)} characters is too short to hold out {held_out:g}"
            )
        return [text[:cut]], [text[cut:]]
    *borders, total = accumulate(map(len, documents))
    wanted = total * (1 - held_out)
    border = min(range(len(borders)), key=lambda at: abs(borders[at] - wanted)) + 1
    return documents[:border], documents[border:]


def shuffle(documents: list[str], seed: int) -> list[str]:
    """Return the documents in an order that the seed alone decides."""
    order = torch.randperm(len(documents), generator=torch.Generator().manual_seed(seed))
    return [documents[at] for at in order.tolist()]


def manual() -> str:
    """Return the reference manual's topics that Python carries, each paragraph once.

    Many topics quote each other whole; a paragraph in both parts of a split would be scored as a
    feat of memory. Another version of Python carries another text.
    """
    from pydoc_data import topics  # 0.7 MB, which only this needs

    paragraphs = (p for key in sorted(topics.topics) for p in topics.topics[key].split("\n\n"))
    return "\n\n".join(dict.fromkeys(paragraphs))
