"""Right and wrong, counted: precision, recall, F1 and accuracy, of whatever has classes.

    wanted  cat dog dog cow        cat   1 right of 2 found and 1 wanted
    found   cat cat dog cat        dog   1 right of 1 found and 2 wanted
                                   cow   0 right of 0 found and 1 wanted

A share of nothing is 0, as in the usual evaluation scripts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """How many were found, how many there are, and how many were found rightly."""

    correct: int
    found: int
    wanted: int

    @property
    def precision(self) -> float:
        """The share of what was found that is right, from 0 to 1."""
        return self.correct / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """The share of what is wanted that was found, from 0 to 1."""
        return self.correct / self.wanted if self.wanted else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, from 0 to 1."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def percent(self) -> tuple[float, float, float]:
        """Return precision, recall and F1 in percent, rounded as evaluation scripts round them.

        They multiply by 100 first, which in some last digits is another number.
        """
        precision = 100 * self.correct / self.found if self.found else 0.0
        recall = 100 * self.correct / self.wanted if self.wanted else 0.0
        both = precision + recall
        f1 = 2 * precision * recall / both if both else 0.0
        return round(precision, 2), round(recall, 2), round(f1, 2)


class ClassReport(NamedTuple):
    """What `class_report` counted; printed, a table in percent."""

    classes: Mapping[str, Score]
    """Of every class that is wanted or found, sorted by name."""
    confusion: Mapping[tuple[str, str], int]
    """How often the one was wanted and the other found."""

    @property
    def accuracy(self) -> float:
        """The share that is right, from 0 to 1."""
        return self.total.precision

    @property
    def micro_f1(self) -> float:
        """F1 of all classes together: the accuracy, because each example has one class."""
        return self.total.f1

    @property
    def macro_f1(self) -> float:
        """The mean of the F1 of the classes, of which each counts the same."""
        return sum(score.f1 for score in self.classes.values()) / max(len(self.classes), 1)

    @property
    def weighted_f1(self) -> float:
        """The mean of the F1 of the classes, each as often as it is wanted."""
        weight = sum(score.f1 * score.wanted for score in self.classes.values())
        return weight / max(self.total.wanted, 1)

    @property
    def total(self) -> Score:
        """All classes together."""
        return add(self.classes.values())

    def __str__(self) -> str:
        rows = {**self.classes, "all": self.total}
        return (
            f"{table(rows)}\n"
            f"accuracy {100 * self.accuracy:.2f}, macro F1 {100 * self.macro_f1:.2f}, "
            f"micro F1 {100 * self.micro_f1:.2f}"
        )


def class_report(wanted: Sequence[str], found: Sequence[str]) -> ClassReport:
    """Return how often each class was found and wanted, and rightly so.

    Raises:
        ValueError: if there is not one found for each wanted.
    """
    if len(wanted) != len(found):
        raise ValueError(f"class_report: {len(found)} classes found for {len(wanted)} wanted")
    confusion = Counter(zip(wanted, found, strict=True))
    there, given = Counter(wanted), Counter(found)
    classes = {
        name: Score(confusion[name, name], given[name], there[name])
        for name in sorted(there | given)
    }
    return ClassReport(classes, dict(sorted(confusion.items())))


def phi(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Return how two properties of the same things go together, from -1 to 1.

    Their correlation as numbers; 0 if one of them is always so, or never.

    Raises:
        ValueError: if they are not of as many things.
    """
    if len(one) != len(other):
        raise ValueError(f"phi: one property is of {len(one)} things, the other of {len(other)}")
    size, a, b = len(one), sum(one), sum(other)
    both = sum(x and y for x, y in zip(one, other, strict=True))
    spread = a * (size - a) * b * (size - b)
    return (size * both - a * b) / spread**0.5 if spread else 0.0


def add(scores: Iterable[Score]) -> Score:
    """Return several scores as one."""
    correct, found, wanted = (sum(counts) for counts in zip((0, 0, 0), *scores, strict=True))
    return Score(correct, found, wanted)


def table(rows: Mapping[str, Score]) -> str:
    """Return named scores as lines of text, in percent."""
    width = max(map(len, rows), default=0)
    lines = [f"{'':{width}}  precision  recall      F1   found  wanted"]
    for name, score in rows.items():
        precision, recall, f1 = score.percent()
        lines.append(
            f"{name:{width}}  {precision:9.2f}  {recall:6.2f}  {f1:6.2f}"
            f"  {score.found:6}  {score.wanted:6}"
        )
    return "\n".join(lines)


MATRIX = 18
"""Classes that a matrix of confusions has room for."""


def frequent_errors(report: ClassReport, most: int) -> list[tuple[int, str, str]]:
    """Return how often one class was taken for another, and both; the most frequent first."""
    wrong = [(n, one, two) for (one, two), n in report.confusion.items() if one != two]
    return sorted(wrong, key=lambda error: (-error[0], *error[1:]))[:most]


def confusions(report: ClassReport, most: int = 15) -> str:
    """Return what was taken for what: a matrix, or of many classes the most frequent errors.

    Args:
        report: of classes.
        most: errors that are listed where there are too many classes for a matrix.
    """
    names = list(report.classes)
    if len(names) > MATRIX:
        listed = frequent_errors(report, most)
        lines = [f"{n:6}  {one} was taken for {two}" for n, one, two in listed]
        return "\n".join(["the most frequent errors", *lines])
    width = max(len("wanted"), *map(len, names))
    column = max(6, *map(len, names)) + 1
    lines = [f"{'wanted':{width}}" + "".join(f"{name:>{column}}" for name in names) + "   found"]
    for one in names:
        counts = (report.confusion.get((one, two), 0) for two in names)
        lines.append(f"{one:{width}}" + "".join(f"{count or '.':>{column}}" for count in counts))
    return "\n".join(lines)
