"""Training a tagger, and a tagger to use from Python.

tagger = Tagger(max_epochs=10).fit([["They", "run"], ...], [["PRON", "VERB"], ...])
tagger.predict([["We", "ran"]])        [("PRON", "VERB")]
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.spelling import Vocabulary, check_sentences, cut
from statewise.models.tagger import TaggerConfig, TaggingModel
from statewise.tasks.scores import class_report
from statewise.tasks.tagging import (
    boundaries,
    convert,
    detect,
    legal,
    read_sentences,
    span_report,
)
from statewise.tasks.tagging.schemes import OUTSIDE, split
from statewise.training.configuration import Tagged, TaggerRun
from statewise.training.estimator import Estimator
from statewise.training.labels import Gold, Golds, Report, Trained, Work, train

COLUMNS = {".conllu": "upos", ".jsonl": "tags"}
"""The column of the tags where none is named, by how the file's name ends; else the last one."""

BOUNDARIES = "boundaries"
"""In place of a column: characters are tagged with where words begin and end."""


class TagWork(Work[TaggingModel]):
    """What is peculiar to the training of a tagger.

    Args:
        output: "crf" or "softmax".
        scheme: of spans: "auto", "none" or a name.
        look_ahead: words that are read before one is tagged.
    """

    what, target = "tagger", "word"

    def __init__(self, output: str = "crf", scheme: str = "auto", look_ahead: int = 0):
        self.output, self.asked, self.look_ahead = output, scheme, look_ahead
        self.scheme: str | None = None
        self._labels: list[str] = []

    @classmethod
    def of(cls, model: TaggingModel) -> "TagWork":
        """Return that of a model that is trained."""
        work = cls(model.config.output)
        work.scheme, work._labels = model.config.scheme, list(model.labels)
        return work

    @property
    def score(self) -> str:
        """F1 of spans, or the accuracy of words."""
        return "accuracy" if self.scheme is None else "f1"

    @property
    def labels(self) -> list[str]:
        """All tags that were learned of."""
        return self._labels

    def learn(self, gold: Gold) -> Gold:
        """Find out the scheme, and put right the tags that break it."""
        notes: tuple[str, ...] = ()
        if self.asked == "auto":
            detected = detect(gold.labels, place=gold.place)
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
        self._labels = sorted({tag for tags in labels for tag in tags})
        return gold._replace(labels=labels, notes=notes)

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about tags to score with: those that no training has shown.

        Raises:
            ValueError: if all are such, or one is no tag of a span where others are.
        """
        known = {self._kind(tag) for tag in self._labels}
        strange: dict[str, tuple[int, int]] = {}
        seen = False
        for sentence, tags in enumerate(gold.labels):
            for word, tag in enumerate(tags):
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
                f"{gold.place(*place)}: the tagger has no tag {first!r}, nor any other of this "
                f"file; it has {listed}"
            )
        return (
            f"{gold.place(*place)}: the tagger has no tag {first!r}, which counts as wrong; nor "
            f"{len(strange) - 1} others",
        )

    def _kind(self, tag: str) -> str:
        """Return the tag, or of a span its type: the scheme may be another."""
        return tag if self.scheme is None or tag == OUTSIDE else split(tag)[1]

    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> TaggingModel:
        """Return a fresh tagger."""
        config = TaggerConfig.model_validate(
            {
                "encoder": encoder,
                "labels": self._labels,
                "output": self.output,
                "scheme": self.scheme,
                "look_ahead": self.look_ahead,
            }
        )
        rules = None if self.scheme is None else legal(self._labels, self.scheme)
        return TaggingModel(config, vocabulary, legal=rules)

    def targets(self, labels: list[Any]) -> list[Tensor]:
        """Return the tags of each sentence as numbers."""
        numbers = {label: number for number, label in enumerate(self._labels)}
        return [torch.tensor([numbers[tag] for tag in tags]) for tags in labels]

    def batch(self, targets: list[Tensor]) -> tuple[Tensor, int]:
        """Return tags padded on the right, and how many there are."""
        return pad_sequence(targets, batch_first=True), sum(map(len, targets))

    def report(self, gold: Gold, found: list[Any]) -> Report:
        """Return how well words were tagged: their spans, or their classes."""
        if self.scheme is not None:
            return span_report(gold.labels, found)
        wanted = [tag for tags in gold.labels for tag in tags]
        return class_report(wanted, [tag for tags in found for tag in tags])

    def value(self, report: Report) -> float:
        """Return F1 of all spans together, or the accuracy."""
        return report.total.f1


def _put_right(gold: Gold, scheme: str) -> list[tuple[str, ...]]:
    """Return the tags in the scheme."""
    found = []
    for at, tags in enumerate(gold.labels):
        try:
            found.append(tuple(convert(tags, scheme)))
        except ValueError as error:
            raise ValueError(f"{gold.place(at, 0)}: {error}") from None
    return found


def read_tagged(path: str | Path, data: Tagged) -> Gold:
    """Return the sentences of a file and their tags.

    Raises:
        ValueError, FileNotFoundError: as `statewise.tasks.tagging.read_sentences` does.
    """
    column = data.column
    if column is None:
        name = str(path).removesuffix(".gz")
        column = next((c for end, c in COLUMNS.items() if name.endswith(end)), "-1")
    if column == BOUNDARIES:
        return _read_boundaries(path, data)
    corpus = read_sentences(path, [column], words=data.words, encoding=data.encoding)
    sentences = [sentence.words for sentence in corpus.sentences]
    return Gold(str(path), sentences, list(corpus.tags(column)), corpus.place, corpus.notes)


def _read_boundaries(path: str | Path, data: Tagged) -> Gold:
    """Return the sentences of a file in characters, as a text is cut, and how they make words."""
    corpus = read_sentences(path, [], words=data.words, encoding=data.encoding)
    cuts = [[cut(word) or (word,) for word in sentence.words] for sentence in corpus.sentences]
    words = [[at for at, pieces in enumerate(each) for _ in pieces] for each in cuts]
    return Gold(
        str(path),
        [tuple(piece for pieces in each for piece in pieces) for each in cuts],
        [tuple(boundaries(map(len, each))) for each in cuts],
        lambda sentence, piece: corpus.place(sentence, words[sentence][piece]),
        corpus.notes,
    )


def train_tagger(config: TaggerRun, golds: Golds | None = None) -> Trained[TaggingModel]:
    """Train a tagger as `config` says; return the best of its checkpoints.

    Args:
        config: what to train on, what, and how.
        golds: what to train on, if it is at hand.

    Raises:
        ValueError, OSError: for data, a mixer, a size or a folder that will not do, before anything
            is written.
    """
    work = TagWork(config.output, config.data.scheme, config.look_ahead)
    return train(config, work, golds or Golds.read(config.data, read_tagged))


class Tagger(Estimator[TaggingModel, TaggerRun]):
    """Tags the words of sentences, which are lists of words.

    `predict_proba` answers with (words, tags) for each sentence: of a CRF the marginals, so that
    the probability of the tag that is chosen is the confidence in it. `score` is F1 of spans where
    the tags are spans, and else the accuracy.

    Args:
        options: of `statewise.training.configuration.TaggerRun`, such as `max_epochs=10`,
            `output="softmax"` or `model={"mixer": "gru", "depth": 2}`.

    Raises:
        ValueError: for an option that does not exist, or a value out of its range.
    """

    run, model_class = TaggerRun, TaggingModel

    def stream(self, words: Iterable[str], *, lag: int = 1) -> Iterator[tuple[str, str]]:
        """Yield each word of one sentence with its tag, as soon as it can be told.

        Of a model that reads from the left alone; see `TaggingModel.stream`, which gives the state.

        Raises:
            ValueError: if it reads from the right too, or for a lag below 1.
        """
        model = self._model()
        state, waiting = model.initial_state(), deque[str]()
        for word in words:
            waiting.append(word)
            tags, state = model.stream([word], state, lag=lag)
            yield from ((waiting.popleft(), tag) for tag in tags)
        tags, _ = model.stream([], state, ended=True, lag=lag)
        yield from zip(waiting, tags, strict=True)

    def _train(self, config: TaggerRun, golds: Golds) -> Trained[TaggingModel]:
        return train_tagger(config, golds)

    def _work(self, model: TaggingModel) -> TagWork:
        return TagWork.of(model)

    def _gold(self, name: str, sentences: Sequence[Any], labels: Sequence[Any]) -> Gold:
        check_sentences(sentences)
        if len(sentences) != len(labels):
            raise ValueError(f"{name}: {len(sentences)} sentences, and tags of {len(labels)}")
        for at, (words, tags) in enumerate(zip(sentences, labels, strict=True), 1):
            if isinstance(tags, str) or len(words) != len(tags):
                raise ValueError(
                    f"{name}: sentence {at} has {len(words)} words, and not as many tags: {tags!r}"
                )
        kept = [at for at, words in enumerate(sentences) if len(words)]
        return Gold(
            name,
            [tuple(sentences[at]) for at in kept],
            [tuple(labels[at]) for at in kept],
            lambda sentence, word: f"{name}: sentence {kept[sentence] + 1}, word {word + 1}",
        )
