"""What is peculiar to the training of heads that label words, or other items of sequences."""

from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from statewise.models.labelling import Labelling
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.sequence_labelling import Legal
from statewise.models.spelling import Vocabulary
from statewise.models.tagger import TaggingModel
from statewise.tasks.scores import class_report
from statewise.tasks.tagging import Detected, convert, detect, legal, span_report
from statewise.tasks.tagging.schemes import OUTSIDE, SCHEMES, Span, split, write
from statewise.training.labels import Gold, OneHead, Report

Model = TypeVar("Model", bound=Labelling[Any])

UNKNOWN = -1
"""The number of a tag that is not known."""

WHOLE = "; of spans, sentences are scored that have all their tags: name some with --data.dev"


class SequenceWork(OneHead[Model]):
    """What is peculiar to the training of labels of the items of sequences.

    Args:
        output: "crf" or "softmax".
        scheme: of spans: "auto", "none" or a name.
    """

    said: str
    """What an item is labelled with: "tag" or "label"."""

    def __init__(self, output: str, scheme: str):
        super().__init__()
        self.output, self.asked = output, scheme
        self.scheme: str | None = None
        self.spans: dict[str, list[str]] | None = None

    @property
    def score(self) -> str:
        """F1 of spans, or the accuracy of words."""
        return "accuracy" if self.scheme is None else "f1"

    def learn(self, gold: Gold) -> Gold:
        """Find out the scheme, and put right the tags that break it."""
        if gold.labels and all(tag is None for tags in gold.labels for tag in tags):
            raise ValueError(f"{gold.name}: no {self.said} in it is known")
        notes = _unknown(gold)
        if self.asked == "auto":
            detected = _detected(gold)
            self.scheme = detected.scheme
            notes += (f"{gold.name}: {detected}",)
        else:
            self.scheme = None if self.asked == "none" else self.asked
        labels = gold.labels
        if self.scheme is not None:
            labels = _put_right(gold, self.scheme)
            changed = sum(a != b for a, b in zip(labels, gold.labels, strict=True))
            if changed:
                notes += (
                    f"{gold.name}: the tags of {changed} sentences were put right, as {self.scheme}"
                    " has the same spans",
                )
        self._labels = sorted({tag for tags in labels for tag in tags if tag is not None})
        if self.output == "transitions":
            if None in chain.from_iterable(labels):
                raise ValueError(
                    f"{gold.name}: transitions learn of whole sentences, and not every tag is "
                    "known: use --output crf"
                )
            self.spans = self._spans(gold.name)
            self._labels = sorted({OUTSIDE, *chain.from_iterable(self.spans.values())})
        gold = gold._replace(labels=labels, notes=notes)
        if self.scheme is not None:
            self._refuse_broken(gold, self.scheme)
        return gold

    def _spans(self, name: str) -> dict[str, list[str]]:
        """Return how spans of each type that was seen are written, for transitions."""
        types = {split(tag)[1] for tag in self._labels if tag != OUTSIDE} if self.scheme else set()
        if self.scheme is None or not types:
            raise ValueError(
                f"{name}: transitions find spans, and these are classes of words: use --output crf "
                "or softmax"
            )
        found = dict[str, list[str]]()
        for kind in sorted(types):
            found[kind] = [tag for n in (1, 3) for tag in write([Span(0, n, kind)], n, self.scheme)]
            if SCHEMES[self.scheme].again:
                found[kind] += write([Span(0, 1, kind), Span(1, 2, kind)], 2, self.scheme)[1:]
        return found

    def _refuse_broken(self, gold: Gold, scheme: str) -> None:
        """Refuse tags that no whole sentence can have, by a ValueError; unknown ones are free."""
        start, after, end = legal(self._labels, scheme)
        numbers = {label: number for number, label in enumerate(self._labels)}
        for sentence, tags in enumerate(gold.labels):
            if None not in tags:
                continue
            reached = start
            for word, tag in enumerate(tags):
                if word:
                    reached = after[reached].any(0)
                if tag is not None:
                    there = torch.zeros_like(reached)
                    there[numbers[tag]] = reached[numbers[tag]]
                    reached = there
                if word + 1 == len(tags):
                    reached = reached & end
                if not reached.any():
                    raise ValueError(
                        f"{gold.place(sentence, word)}: no {scheme} goes through the tags that are "
                        "known up to here"
                    )

    def scored(self, gold: Gold) -> Gold:
        """Return the sentences that can be scored: of spans, those of which every tag is known."""
        if self.scheme is None:
            return gold
        return gold.part([at for at, tags in enumerate(gold.labels) if None not in tags])

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about tags to score with: those that no training has shown.

        Raises:
            ValueError: if all are such, or one is no tag of a span where others are.
        """
        known = {self._kind(tag) for tag in self._labels}
        if all(tag is None for tags in self.scored(gold).labels for tag in tags):
            raise ValueError(f"{gold.name}: there is nothing in it to score with{WHOLE}")
        strange: dict[str, tuple[int, int]] = {}
        seen = False
        for sentence, tags in enumerate(gold.labels):
            for word, tag in enumerate(tags):
                if tag is None:
                    continue
                try:
                    kind = self._kind(tag)
                except ValueError as error:
                    raise ValueError(f"{gold.place(sentence, word)}: {error}") from None
                if kind not in known:
                    strange.setdefault(kind, (sentence, word))
                seen = seen or kind in known
        if not strange:
            return ()
        first, place = next(iter(strange.items()))
        listed = ", ".join(sorted(known - {""}))
        if not seen:
            raise ValueError(
                f"{gold.place(*place)}: the {self.what} has no {self.said} {first!r}, nor "
                f"any other of this file; it has {listed}"
            )
        return (
            f"{gold.place(*place)}: the {self.what} has no {self.said} {first!r}, which "
            f"counts as wrong; nor {len(strange) - 1} others",
        )

    def _kind(self, tag: str) -> str:
        """Return the tag, or of a span its type: the scheme may be another."""
        return tag if self.scheme is None or tag == OUTSIDE else split(tag)[1]

    def targets(self, labels: list[Any]) -> list[Tensor]:
        """Return the tags of each sentence as numbers."""
        numbers: dict[str | None, int] = {label: at for at, label in enumerate(self._labels)}
        numbers[None] = UNKNOWN
        return [torch.tensor([numbers[tag] for tag in tags]) for tags in labels]

    def batch(self, targets: list[Tensor]) -> tuple[Tensor, int]:
        """Return tags padded on the right, and how many are known, or 1 if none is."""
        known = sum(int((tags != UNKNOWN).sum()) for tags in targets)
        return pad_sequence(targets, batch_first=True), max(known, 1)

    def report(self, gold: Gold, found: list[Any]) -> Report:
        """Return how well words were tagged: spans of whole sentences, or classes of words."""
        if self.scheme is not None:
            rows = zip(gold.labels, found, strict=True)
            whole = [(wanted, said) for wanted, said in rows if None not in wanted]
            return span_report([wanted for wanted, _ in whole], [said for _, said in whole])
        pairs = zip(chain.from_iterable(gold.labels), chain.from_iterable(found), strict=True)
        known = [(wanted, said) for wanted, said in pairs if wanted is not None]
        return class_report([wanted for wanted, _ in known], [said for _, said in known])

    def value(self, report: Report) -> float:
        """Return F1 of all spans together, or the accuracy."""
        return report.total.f1


class TagWork(SequenceWork[TaggingModel]):
    """What is peculiar to the training of a tagger.

    Args:
        output: "crf" or "softmax".
        scheme: of spans: "auto", "none" or a name.
        look_ahead: words that are read before one is tagged.
    """

    what, target, said = "tagger", "word", "tag"
    model = TaggingModel

    def __init__(self, output: str = "crf", scheme: str = "auto", look_ahead: int = 0):
        super().__init__(output, scheme)
        self.look_ahead = look_ahead

    @classmethod
    def of(cls, model: TaggingModel) -> "TagWork":
        """Return that of a model that is trained."""
        work = cls(model.config.output, look_ahead=model.look_ahead)
        work.scheme, work.spans = model.config.scheme, model.config.spans
        work._labels = list(model.labels)
        return work

    def fields(self) -> dict[str, Any]:
        """Return what a tagger is built from beside its encoder."""
        return {
            "labels": self._labels,
            "output": self.output,
            "scheme": self.scheme,
            "spans": self.spans,
            "look_ahead": self.look_ahead,
        }

    def rules(self) -> Legal | None:
        """Return which tags may follow which, where they are spans."""
        return None if self.scheme is None else legal(self._labels, self.scheme)

    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> TaggingModel:
        """Return a fresh tagger."""
        return TaggingModel(self.configured(encoder), vocabulary, legal=self.rules())


def _unknown(gold: Gold) -> tuple[str, ...]:
    """Return how much is not known, a sentence if there is some."""
    size = sum(map(len, gold.labels))
    count = sum(tag is None for tags in gold.labels for tag in tags)
    return (f"{gold.name}: {count} of {size} tags are not known",) if count else ()


def _detected(gold: Gold) -> Detected:
    """Return the scheme of the sentences of which every tag is known.

    Raises:
        ValueError: if there are none and the tags are spans; or as `detect` does.
    """
    whole = [at for at, tags in enumerate(gold.labels) if None not in tags]
    if whole or not gold.labels:
        part = gold.part(whole)
        return detect(part.labels, place=part.place)
    # A span may be cut where something is not known, which says nothing of how it is written.
    known = [[tag] for tags in gold.labels for tag in tags if tag is not None]
    detected = detect(known)
    if detected.scheme is not None:
        raise ValueError(
            f"{gold.name}: no sentence has all its tags, so that their scheme cannot be found out: "
            "name it with --data.scheme"
        )
    return detected


def _put_right(gold: Gold, scheme: str) -> list[tuple[str | None, ...]]:
    """Return the tags in the scheme; those of which some are not known, as they are."""
    found = []
    for at, tags in enumerate(gold.labels):
        if None in tags:
            found.append(tags)
            continue
        try:
            found.append(tuple(convert(tags, scheme)))
        except ValueError as error:
            raise ValueError(f"{gold.place(at, 0)}: {error}") from None
    return found
