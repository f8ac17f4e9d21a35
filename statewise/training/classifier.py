"""Training a classifier, and a classifier to use from Python.

classifier = Classifier(max_epochs=10).fit(["where is my card", ...], ["card_arrival", ...])
classifier.predict(["it has not come"])        ["card_arrival"]

classifier.fit([["where is my card?", "which one?"], ...], [["question", "question"], ...])
classifier.predict([["hello", "hi"]])          [("greeting", "greeting")]        conversations
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from statewise.models.classifier import ClassifyingModel
from statewise.models.conversation import ConversationModel
from statewise.models.reading import ReadingConfig
from statewise.models.spelling import Vocabulary, check_sentences, cut
from statewise.tasks.classification import conversations, read_texts
from statewise.tasks.patterns import Patterns, read_patterns
from statewise.tasks.scores import class_report
from statewise.training.configuration import Classified, ClassifierRun
from statewise.training.conversation import ConversationWork
from statewise.training.estimator import Estimator
from statewise.training.labels import Gold, Golds, OneHead, Report, Trained, Work, train
from statewise.training.text_reading import TextReading


class ClassWork(OneHead[ClassifyingModel]):
    """What is peculiar to the training of a classifier.

    Args:
        reading: what makes one vector of a text.
    """

    what, target = "classifier", "text"
    model = ClassifyingModel

    def __init__(self, reading: TextReading):
        super().__init__()
        self.reading = reading

    @classmethod
    def of(cls, model: ClassifyingModel) -> "ClassWork":
        """Return that of a model that is trained."""
        work = cls(TextReading(model.config))
        work._labels = list(model.labels)
        return work

    @property
    def score(self) -> str:
        """The accuracy."""
        return "accuracy"

    def known(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with the lexicon, if there is one."""
        return self.reading.known(vocabulary)

    def learn(self, gold: Gold) -> Gold:
        """Note the classes, and how much the lexicon knows."""
        self._labels = sorted(set(gold.labels))
        if len(self._labels) < 2:
            raise ValueError(
                f"{gold.name}: all texts to train on have one label, {self._labels[0]!r}"
            )
        return gold._replace(notes=self.reading.notes(gold.name, gold.sentences))

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about classes to score with: those that no training has shown.

        Raises:
            ValueError: if all are such, or the texts stand in conversations.
        """
        if any(not isinstance(label, str) for label in gold.labels):
            raise ValueError(
                f"{gold.name}: the classifier reads texts one by one, and these stand in "
                "conversations"
            )
        strange = [at for at, label in enumerate(gold.labels) if label not in self._labels]
        if not strange:
            return ()
        place, first = gold.place(strange[0], 0), gold.labels[strange[0]]
        if len(strange) == len(gold.labels):
            raise ValueError(
                f"{place}: the classifier has no label {first!r}, nor any other of this file; it "
                f"has {', '.join(self._labels)}"
            )
        return (
            f"{place}: the classifier has no label {first!r}, which counts as wrong; so do "
            f"{len(strange)} texts in all",
        )

    def fields(self) -> dict[str, Any]:
        """Return what a classifier is built from beside its encoder."""
        return {"labels": self._labels, **self.reading.fields()}

    def targets(self, labels: list[Any]) -> list[Tensor]:
        """Return the class of each text as a number."""
        numbers = {label: number for number, label in enumerate(self._labels)}
        return [torch.tensor(numbers[label]) for label in labels]

    def batch(self, targets: list[Tensor]) -> tuple[Tensor, int]:
        """Return the classes side by side, and how many they are."""
        return torch.stack(targets), len(targets)

    def report(self, gold: Gold, found: list[Any]) -> Report:
        """Return how well texts were classified."""
        return class_report(gold.labels, found)

    def value(self, report: Report) -> float:
        """Return the accuracy."""
        return report.total.f1


def read_classified(path: str | Path, data: Classified) -> Gold:
    """Return the texts of a file, cut into words, and their classes; by conversations, if asked.

    Those of `data.train` are labelled by `data.patterns`, if there are some.

    Raises:
        ValueError, FileNotFoundError: as `statewise.tasks.classification.read_texts` does, and
            `statewise.tasks.patterns.read_patterns`; or if no pattern labels a text.
    """
    if data.patterns is not None and str(path) == data.train:
        return _by_patterns(path, data, read_patterns(data.patterns))
    texts = read_texts(path, data.text, data.label, data.conversation, encoding=data.encoding)
    if data.conversation is None:
        lines = [example.line for example in texts.examples]
        return Gold(
            str(path),
            [cut(example.text) for example in texts.examples],
            [example.label for example in texts.examples],
            lambda text, _: f"{path}:{lines[text]}",
            texts.notes,
        )
    found = conversations(texts)
    return Gold(
        str(path),
        [tuple(cut(example.text) for example in each) for each in found],
        [tuple(example.label for example in each) for each in found],
        lambda conversation, text: f"{path}:{found[conversation][text].line}",
        texts.notes,
    )


def _by_patterns(path: str | Path, data: Classified, patterns: Patterns) -> Gold:
    """Return the texts of a file that patterns label."""
    texts = read_texts(path, data.text, None, encoding=data.encoding)
    found = patterns.find(example.text for example in texts.examples)
    if not found:
        raise ValueError(f"{path}: no text in it has patterns of one label, of {patterns.path}")
    lines = [texts.examples[each.place].line for each in found]
    note = (
        f"{patterns.path}: {len(found)} of the {len(texts.examples)} texts of {path} have a label"
    )
    return Gold(
        str(path),
        [cut(each.text) for each in found],
        [each.label for each in found],
        lambda text, _: f"{path}:{lines[text]}",
        (*texts.notes, *patterns.notes, note),
    )


def train_classifier(config: ClassifierRun, golds: Golds | None = None) -> Trained[Any]:
    """Train a classifier as `config` says; return the best of its checkpoints.

    It is a `ClassifyingModel` or, of texts in conversations, a `ConversationModel`.

    Args:
        config: what to train on, what, and how.
        golds: what to train on, if it is at hand.

    Raises:
        ValueError, OSError: for data, a mixer, a size or a folder that will not do, before anything
            is written.
    """
    golds = golds or Golds.read(config.data, read_classified)
    reading = TextReading.of(config)
    if any(not isinstance(labels, str) for labels in golds.train.labels):
        work = ConversationWork(reading, config.conversation, config.output)
        return train(config, work, golds)
    if (config.conversation, config.output) != (ReadingConfig(), "crf"):
        raise ValueError(
            "conversation and output are of texts in conversations: name the column that tells "
            "these apart with --data.conversation"
        )
    return train(config, ClassWork(reading), golds)


class Classifier(Estimator[Any, ClassifierRun]):
    """Says of which class a text is; a text is a string, or a list of words.

    Texts that stand in conversations are classified in the light of each other: then each input is
    a list of texts, and its labels as many.

    `predict_proba` answers with (classes,) for each text, or with (texts, classes) for each
    conversation; `score` is the accuracy.

    Args:
        options: of `statewise.training.configuration.ClassifierRun`, such as `max_epochs=10`,
            `pooling=["mean"]` or `model={"mixer": "gru", "depth": 2}`.

    Raises:
        ValueError: for an option that does not exist, or a value out of its range.
    """

    run, kinds = ClassifierRun, (ClassifyingModel, ConversationModel)

    def stream(self, texts: Iterable[Any], *, lag: int = 1) -> Iterator[tuple[Any, str]]:
        """Yield each text of one conversation with its class, as soon as it can be told.

        Of a model that reads conversations from their beginning alone; see
        `ConversationModel.stream`, which gives the state.

        Raises:
            ValueError: for another model, or a lag below 1.
        """
        model = self._model()
        if not isinstance(model, ConversationModel):
            raise ValueError("this classifier reads texts one by one: predict them")
        return model.tell(texts, lag=lag)

    def _train(self, config: ClassifierRun, golds: Golds) -> Trained[Any]:
        return train_classifier(config, golds)

    def _work(self, model: Any) -> Work[Any]:
        if isinstance(model, ConversationModel):
            return ConversationWork.of(model)
        return ClassWork.of(model)

    def _gold(self, name: str, sentences: Sequence[Any], labels: Sequence[Any]) -> Gold:
        if len(sentences) != len(labels):
            raise ValueError(f"{name}: {len(sentences)} texts, and {len(labels)} labels")
        if any(isinstance(label, list | tuple) for label in labels):
            return _conversations(name, sentences, labels)
        return Gold(
            name,
            _texts(name, sentences, labels),
            list(labels),
            lambda text, _: f"{name}: text {text + 1}",
        )


def _texts(name: str, texts: Sequence[Any], labels: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return the words of texts; refuse texts without any, and labels that are none."""
    words = [cut(text) if isinstance(text, str) else tuple(text) for text in texts]
    check_sentences(words)
    for at, (found, label) in enumerate(zip(words, labels, strict=True), 1):
        if not found:
            raise ValueError(f"{name}: text {at} has no words")
        if not isinstance(label, str):
            raise ValueError(f"{name}: the label of text {at} is {label!r}, and no string")
    return words


def _conversations(name: str, inputs: Sequence[Any], labels: Sequence[Any]) -> Gold:
    """Return conversations as they are learned from; one without any text is left out."""
    found: list[tuple[tuple[str, ...], ...]] = []
    kept: list[int] = []
    for number, (texts, said) in enumerate(zip(inputs, labels, strict=True), 1):
        here = f"{name}: conversation {number}"
        if isinstance(texts, str) or isinstance(said, str) or len(texts) != len(said):
            raise ValueError(f"{here} should be a list of texts, with as many labels: {said!r}")
        if len(texts):
            kept.append(number)
            found.append(tuple(_texts(here, texts, said)))
    return Gold(
        name,
        list(found),
        [tuple(labels[number - 1]) for number in kept],
        lambda conversation, text: f"{name}: conversation {kept[conversation]}, text {text + 1}",
    )
