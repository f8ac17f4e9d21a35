"""Tagging: the words of a sentence in; a tag for each, or spans of several words, out.

word    Uma   visited  Le     Havre  in   May     .
tag     PROPN VERB     PROPN  PROPN  ADP  PROPN   PUNCT     a class for each word: accuracy
tag     B-PER O        B-LOC  I-LOC  O    B-DATE  O         three spans: precision, recall, F1
"""

from collections.abc import Sequence
from pathlib import Path

from statewise.tasks.tagging.columns import read_columns as read_columns
from statewise.tasks.tagging.conllu import read_conllu as read_conllu
from statewise.tasks.tagging.jsonl import read_jsonl as read_jsonl
from statewise.tasks.tagging.schemes import SCHEMES as SCHEMES
from statewise.tasks.tagging.schemes import Detected as Detected
from statewise.tasks.tagging.schemes import Span as Span
from statewise.tasks.tagging.schemes import convert as convert
from statewise.tasks.tagging.schemes import detect as detect
from statewise.tasks.tagging.schemes import legal as legal
from statewise.tasks.tagging.schemes import spans as spans
from statewise.tasks.tagging.schemes import write as write
from statewise.tasks.tagging.segmentation import SegmentationReport as SegmentationReport
from statewise.tasks.tagging.segmentation import boundaries as boundaries
from statewise.tasks.tagging.segmentation import longest_matches as longest_matches
from statewise.tasks.tagging.segmentation import segmentation_report as segmentation_report
from statewise.tasks.tagging.sentences import Corpus as Corpus
from statewise.tasks.tagging.sentences import Sentence as Sentence
from statewise.tasks.tagging.span_scores import SpanReport as SpanReport
from statewise.tasks.tagging.span_scores import span_report as span_report

__all__ = [
    "SCHEMES",
    "Corpus",
    "Detected",
    "SegmentationReport",
    "Sentence",
    "Span",
    "SpanReport",
    "boundaries",
    "convert",
    "detect",
    "legal",
    "longest_matches",
    "read_columns",
    "read_conllu",
    "read_jsonl",
    "read_sentences",
    "segmentation_report",
    "span_report",
    "spans",
    "write",
]


def read_sentences(
    path: str | Path,
    columns: Sequence[str],
    *,
    words: str | None = None,
    labels: Sequence[str] = (),
    encoding: str = "utf-8",
) -> Corpus:
    """Return the sentences of a file, in the format that its name ends with.

    Args:
        path: of a file of CoNLL-U (`.conllu`), of JSON lines (`.jsonl`), each gzip or not (`.gz`),
            or, if it ends otherwise, of columns.
        columns: names in CoNLL-U and JSON; numbers such as "4" or "-1" in a file of columns.
        words: the column or the key of the words: "1" or "words" if absent. Always `form` in
            CoNLL-U.
        labels: keys of what JSON lines say of whole sentences.
        encoding: how the characters are written.

    Raises:
        ValueError: for a column of another kind than that of the file, for labels where there can
            be none, and for what `read_conllu`, `read_jsonl` and `read_columns` refuse.
        FileNotFoundError: if there is no such file.
    """
    name = str(path).removesuffix(".gz")
    if labels and not name.endswith(".jsonl"):
        raise ValueError(f"{path}: JSON lines (.jsonl) alone have a {labels[0]!r} of each sentence")
    if name.endswith(".conllu"):
        if words not in (None, "form"):
            raise ValueError(f"{path}: the words of a CoNLL-U file are in form, not in {words!r}")
        return read_conllu(path, columns, encoding=encoding)
    if name.endswith(".jsonl"):
        return read_jsonl(path, words or "words", columns, labels, encoding=encoding)
    try:
        word, *numbers = (int(column) for column in (words or "1", *columns))
    except ValueError:
        named = ", ".join(map(repr, (*columns, words) if words else columns))
        raise ValueError(
            f"{path}: this is a file of columns, which have numbers such as 2 or -1, not {named}"
        ) from None
    corpus = read_columns(path, word, numbers, encoding=encoding)
    again = [
        sentence._replace(tags=dict(zip(columns, sentence.tags.values(), strict=True)))
        for sentence in corpus.sentences
    ]
    return corpus._replace(sentences=again)
