"""Spans found against spans wanted, counted as the evaluation script of CoNLL-2000 counts them.

wanted  B-PER I-PER O B-ORG       PER 0 of 1: a span is right if start, end and type are
found   B-PER O     O B-ORG       ORG 1 of 1; all 1 right of 2 found and 2 wanted, F1 50
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from statewise.tasks.scores import Score, add, table
from statewise.tasks.tagging.schemes import Span, spans


class SpanReport(NamedTuple):
    """What `span_report` counted; printed, a table in percent."""

    types: Mapping[str, Score]
    """Of every type that is wanted or found, sorted by name."""
    words: Score
    """Of single tags: its precision is the accuracy."""

    @property
    def total(self) -> Score:
        """All types together."""
        return add(self.types.values())

    @property
    def macro_f1(self) -> float:
        """The mean of the F1 of the types, of which each counts the same; from 0 to 1."""
        return sum(score.f1 for score in self.types.values()) / max(len(self.types), 1)

    def __str__(self) -> str:
        rows = {kind or "(no type)": score for kind, score in self.types.items()}
        return (
            f"{table({**rows, 'all': self.total})}\n"
            f"accuracy {self.words.percent()[0]:.2f} over {self.words.wanted} words, "
            f"macro F1 {100 * self.macro_f1:.2f}"
        )


def span_report(
    wanted: Sequence[Sequence[str]],
    found: Sequence[Sequence[str]],
    counts: Callable[[int, Span], bool] = lambda sentence, span: True,
) -> SpanReport:
    """Return how many spans of each type were found and wanted, and rightly so.

    Args:
        wanted: the tags of each sentence, in any scheme.
        found: as many tags for as many sentences, perhaps in another.
        counts: whether a span, wanted or found, of a sentence, from 0, is one to count; all are if
            absent. Single tags are counted in any case.

    Raises:
        ValueError: if sentences or words differ in number, or a tag is of no scheme.
    """
    if len(wanted) != len(found):
        raise ValueError(f"span_report: {len(found)} sentences found for {len(wanted)} wanted")
    there: Counter[str] = Counter()
    given: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    words = right = 0
    for at, (one, two) in enumerate(zip(wanted, found, strict=True)):
        if len(one) != len(two):
            raise ValueError(
                f"span_report: {len(two)} tags found for the {len(one)} words of sentence {at + 1}"
            )
        ours, theirs = ({span for span in spans(tags) if counts(at, span)} for tags in (one, two))
        there.update(span.type for span in ours)
        given.update(span.type for span in theirs)
        correct.update(span.type for span in ours & theirs)
        words += len(one)
        right += sum(a == b for a, b in zip(one, two, strict=True))
    types = {kind: Score(correct[kind], given[kind], there[kind]) for kind in sorted(there | given)}
    return SpanReport(types, Score(right, words, words))
