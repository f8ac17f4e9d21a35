"""Sentences as JSON lines: lists of words and tags, and strings that are said of the whole.

{"words": ["Play", "some", "jazz"], "tags": ["O", "O", "B-genre"], "intent": "music"}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statewise.tasks.documents import check_characters, json_lines, read_lines
from statewise.tasks.tagging.sentences import Column, Corpus, Sentence, corpus


def read_jsonl(
    path: str | Path,
    words: str = "words",
    columns: Sequence[str] = ("tags",),
    labels: Sequence[str] = (),
    *,
    encoding: str = "utf-8",
) -> Corpus:
    """Return the sentences of a file of JSON lines; blank lines are none.

    Args:
        path: of the file, gzip or not.
        words: the key of the words.
        columns: those of the tags, one for each word.
        labels: those of strings that are said of the whole sentence.
        encoding: how the characters are written.

    Raises:
        ValueError: for a line that lacks one of them or has a tag too few or too many, or a file
            that `statewise.tasks.documents.read_lines` refuses.
        FileNotFoundError: if there is no such file.
    """
    lines, notes = read_lines(path, encoding)
    sentences: list[Sentence] = []
    for number, read in json_lines(path, lines):
        if not isinstance(read, dict):
            raise ValueError(f"{path}:{number}: this is no object with a list {words!r}")
        found = _strings(path, number, read, words)
        if not found:
            raise ValueError(f"{path}:{number}: the sentence has no words")
        tags: dict[Column, tuple[str, ...]] = {}
        for key in columns:
            tags[key] = _strings(path, number, read, key)
            if len(tags[key]) != len(found):
                raise ValueError(
                    f"{path}:{number}: expected {len(found)} entries in {key!r}, found "
                    f"{len(tags[key])}"
                )
        for key in labels:
            if not isinstance(read.get(key), str) or not read[key]:
                raise ValueError(f"{path}:{number}: {key!r} should be a string, and not empty")
            check_characters(path, number, read[key])
        named = {key: read[key] for key in labels}
        sentences.append(Sentence(found, tags, named, (number,) * len(found), 0))
    return corpus(path, sentences, notes)


def _strings(path: str | Path, line: int, read: dict[str, Any], key: str) -> tuple[str, ...]:
    found = read.get(key)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ValueError(f"{path}:{line}: {key!r} should be a list of strings")
    if "" in found:
        raise ValueError(f"{path}:{line}: entry {found.index('') + 1} of {key!r} is empty")
    check_characters(path, line, "".join(found))
    return tuple(found)
