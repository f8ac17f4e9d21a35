"""Sentences and their tags, as they are read from files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from statewise.tasks.tagging.schemes import Detected, detect

Column = str | int
"""A name or a number, as the file has them."""


class Sentence(NamedTuple):
    """One sentence."""

    words: tuple[str, ...]
    """At least one."""
    tags: Mapping[Column, tuple[str, ...]]
    """One for each word, by the column asked for."""
    labels: Mapping[str, str]
    """Of the whole sentence, by the key asked for."""
    lines: tuple[int, ...]
    """Where each word stands in the file, from 1."""
    document: int
    """In which of the file's documents, from 0."""

    def with_features(self, columns: Sequence[Column]) -> tuple[str | tuple[str, ...], ...]:
        """Return the words, each with what stands in these columns, if there are some."""
        if not columns:
            return self.words
        return tuple(zip(self.words, *(self.tags[column] for column in columns), strict=True))


class Corpus(NamedTuple):
    """The sentences of a file, at least one."""

    path: str
    sentences: list[Sentence]
    notes: tuple[str, ...]
    """One sentence each on what was left out or found out."""

    def place(self, sentence: int, word: int) -> str:
        """Return `file:line` of a word, from 0, of a sentence, from 0."""
        return f"{self.path}:{self.sentences[sentence].lines[word]}"

    def tags(self, column: Column) -> list[tuple[str, ...]]:
        """Return the tags of all sentences."""
        return [sentence.tags[column] for sentence in self.sentences]

    def scheme(self, column: Column) -> Detected:
        """Return the scheme of the tags of the whole file.

        Raises:
            ValueError: names the line where they fit none.
        """
        return detect(self.tags(column), place=self.place)


def corpus(path: str | Path, sentences: list[Sentence], notes: tuple[str, ...]) -> Corpus:
    """Return what was read from a file.

    Raises:
        ValueError: if there is no sentence.
    """
    if not sentences:
        raise ValueError(f"{path}: there is no sentence in it")
    return Corpus(str(path), sentences, notes)
