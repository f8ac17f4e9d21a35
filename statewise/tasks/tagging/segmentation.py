"""Words of a script that writes no spaces, as tags of its characters, and how well they are found.

    words       同樣     。  施力     的  大小
    characters  同 樣    。  施 力    的  大 小
    tags        B  E     S   B  E     S   B  E        BMES, of spans without a type

Found words are scored by precision, recall and F1, and the recall once more for words that the
training showed and for those that it did not: Sproat and Emerson, "The First International Chinese
Word Segmentation Bakeoff", 2003, section 4.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from statewise.tasks.scores import Score
from statewise.tasks.tagging.schemes import Span, spans, write


def boundaries(sizes: Iterable[int]) -> list[str]:
    """Return the tags of words of so many characters, one a character.

    Raises:
        ValueError: if a word has none.
    """
    found: list[Span] = []
    start = 0
    for size in sizes:
        if size < 1:
            raise ValueError(f"boundaries: word {len(found) + 1} has no characters")
        found.append(Span(start, start + size, ""))
        start += size
    return write(found, start, "BMES")


def longest_matches(characters: Sequence[str], known: Collection[str]) -> list[str]:
    """Return tags by a dictionary alone: from the left, the longest known word each time.

    A character with which no known word begins is one of its own.

    Args:
        characters: of a sentence.
        known: words.
    """
    widest = max(map(len, known), default=1)
    sizes, start = [], 0
    while start < len(characters):
        ends = range(start + widest, start + 1, -1)
        end = next((end for end in ends if "".join(characters[start:end]) in known), start + 1)
        end = min(end, len(characters))
        sizes.append(end - start)
        start = end
    return boundaries(sizes)


class SegmentationReport(NamedTuple):
    """What `segmentation_report` counted; printed, one line in percent."""

    words: Score
    known: Score
    """Of words that the training showed, how many were found; of `found` there are no others."""
    unknown: Score
    """Of words that it did not show."""

    def __str__(self) -> str:
        precision, recall, f1 = self.words.percent()
        return (
            f"F1 {f1:.2f} (precision {precision:.2f}, recall {recall:.2f}); recall "
            f"{self.known.percent()[1]:.2f} of {self.known.wanted:,} known words, "
            f"{self.unknown.percent()[1]:.2f} of {self.unknown.wanted:,} unknown ones"
        )


def segmentation_report(
    characters: Sequence[Sequence[str]],
    wanted: Sequence[Sequence[str]],
    found: Sequence[Sequence[str]],
    known: Collection[str],
) -> SegmentationReport:
    """Return how many words were found, those that are known and those that are not.

    Args:
        characters: of each sentence.
        wanted: their tags, in any scheme of spans.
        found: as many.
        known: words of the training.

    Raises:
        ValueError: if sentences or characters differ in number, or a tag is of no scheme.
    """
    counts = {True: [0, 0], False: [0, 0]}
    said = 0
    for at, (pieces, gold, tags) in enumerate(zip(characters, wanted, found, strict=True), 1):
        if not len(pieces) == len(gold) == len(tags):
            raise ValueError(
                f"segmentation_report: sentence {at} has {len(pieces)} characters, {len(gold)} "
                f"tags that are wanted and {len(tags)} that were found"
            )
        there = {(span.start, span.end) for span in spans(tags)}
        said += len(there)
        for start, end in ((span.start, span.end) for span in spans(gold)):
            count = counts["".join(pieces[start:end]) in known]
            count[0] += (start, end) in there
            count[1] += 1
    (right, wanted_known), (right_new, wanted_new) = counts[True], counts[False]
    return SegmentationReport(
        Score(right + right_new, said, wanted_known + wanted_new),
        Score(right, right, wanted_known),
        Score(right_new, right_new, wanted_new),
    )
