"""Training a classifier, and a classifier to use from Python.

classifier = Classifier(max_epochs=10).fit(["where is my card", ...], ["card_arrival", ...])
classifier.predict(["it has not come"])        ["card_arrival"]
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.pooling import PoolingConfig
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.spelling import Vocabulary, check_sentences, cut, key
from statewise.tasks.classification import read_texts
from statewise.tasks.lexicon import Lexicon, read_lexicon
from statewise.tasks.scores import class_report
from statewise.training.configuration import Classified, ClassifierRun
from statewise.training.estimator import Estimator
from statewise.training.labels import Gold, Golds, Report, Trained, Work, train

CONDITION = "gate"
"""What a lexicon does to attention if nothing else is asked for: the best form of its paper."""


class ClassWork(Work[ClassifyingModel]):
    """What is peculiar to the training of a classifier.

    Args:
        pooling: what makes one vector of a text.
        lexicon: what is known of words beforehand, if anything.
    """

    what, target = "classifier", "text"

    def __init__(self, pooling: PoolingConfig, lexicon: Lexicon | None = None):
        self.pooling, self.lexicon = pooling, lexicon
        self._labels: list[str] = []

    @classmethod
    def of(cls, model: ClassifyingModel) -> "ClassWork":
        """Return that of a model that is trained."""
        work = cls(model.config)
        work._labels = list(model.labels)
        return work

    @property
    def score(self) -> str:
        """The accuracy."""
        return "accuracy"

    @property
    def labels(self) -> list[str]:
        """All classes that were learned of."""
        return self._labels

    def known(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with the lexicon, if there is one."""
        return vocabulary if self.lexicon is None else vocabulary.with_lexicon(self.lexicon.words)

    def learn(self, gold: Gold) -> Gold:
        """Note the classes, and how much the lexicon knows."""
        self._labels = sorted(set(gold.labels))
        if len(self._labels) < 2:
            raise ValueError(
                f"{gold.name}: all texts to train on have one label, {self._labels[0]!r}"
            )
        notes = () if self.lexicon is None else _about(self.lexicon, gold)
        return gold._replace(notes=notes)

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about classes to score with: those that no training has shown.

        Raises:
            ValueError: if all are such.
        """
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
        how = {name: getattr(self.pooling, name) for name in PoolingConfig.model_fields}
        return {"labels": self._labels, **how}

    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> ClassifyingModel:
        """Return a fresh classifier."""
        fields = {"encoder": encoder, **self.fields()}
        return ClassifyingModel(ClassifierConfig.model_validate(fields), vocabulary)

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
    """Return the texts of a file, cut into words, and their classes.

    Raises:
        ValueError, FileNotFoundError: as `statewise.tasks.classification.read_texts` does.
    """
    texts = read_texts(path, data.text, data.label, encoding=data.encoding)
    lines = [example.line for example in texts.examples]
    return Gold(
        str(path),
        [cut(example.text) for example in texts.examples],
        [example.label for example in texts.examples],
        lambda text, _: f"{path}:{lines[text]}",
        texts.notes,
    )


def train_classifier(
    config: ClassifierRun, golds: Golds | None = None
) -> Trained[ClassifyingModel]:
    """Train a classifier as `config` says; return the best of its checkpoints.

    Args:
        config: what to train on, what, and how.
        golds: what to train on, if it is at hand.

    Raises:
        ValueError, OSError: for data, a mixer, a size or a folder that will not do, before anything
            is written.
    """
    work = ClassWork(*_reading(config))
    return train(config, work, golds or Golds.read(config.data, read_classified))


def _reading(config: ClassifierRun) -> tuple[PoolingConfig, Lexicon | None]:
    """Return what makes one vector of a text, and the lexicon that it conditions attention on."""
    how = {"pooling": config.pooling, "attention_layers": config.attention_layers}
    if config.lexicon is None:
        return PoolingConfig.model_validate(how), None
    how["condition"] = config.condition or CONDITION
    return PoolingConfig.model_validate(how), read_lexicon(config.lexicon)


def _about(lexicon: Lexicon, gold: Gold) -> tuple[str, ...]:
    """Return what is worth saying of a lexicon for examples, a sentence each.

    Raises:
        ValueError: if it knows no word of them.
    """
    listed = {key(word) for word in lexicon.words}
    words = {key(word) for text in gold.sentences for word in text}
    met = len(words & listed)
    if not met:
        raise ValueError(f"{lexicon.path}: it knows no word of {gold.name}")
    notes = (
        f"{lexicon.path}: {lexicon.numbers} numbers for {len(listed)} words; of the {len(words)} "
        f"of {gold.name} it knows {met}",
    )
    if several := sum(len(cut(word)) > 1 for word in lexicon.words):
        notes += (f"{lexicon.path}: {several} entries are cut into several words, and never met",)
    return (*lexicon.notes, *notes)


class Classifier(Estimator[ClassifyingModel, ClassifierRun]):
    """Says of which class a text is; a text is a string, or a list of words.

    `predict_proba` answers with (classes,) for each text, `score` is the accuracy.

    Args:
        options: of `statewise.training.configuration.ClassifierRun`, such as `max_epochs=10`,
            `pooling=["mean"]` or `model={"mixer": "gru", "depth": 2}`.

    Raises:
        ValueError: for an option that does not exist, or a value out of its range.
    """

    run, kinds = ClassifierRun, (ClassifyingModel,)

    def _train(self, config: ClassifierRun, golds: Golds) -> Trained[ClassifyingModel]:
        return train_classifier(config, golds)

    def _work(self, model: ClassifyingModel) -> ClassWork:
        return ClassWork.of(model)

    def _gold(self, name: str, sentences: Sequence[Any], labels: Sequence[Any]) -> Gold:
        if len(sentences) != len(labels):
            raise ValueError(f"{name}: {len(sentences)} texts, and {len(labels)} labels")
        words = [cut(text) if isinstance(text, str) else tuple(text) for text in sentences]
        check_sentences(words)
        for at, (found, label) in enumerate(zip(words, labels, strict=True), 1):
            if not found:
                raise ValueError(f"{name}: text {at} has no words")
            if not isinstance(label, str):
                raise ValueError(f"{name}: the label of text {at} is {label!r}, and no string")
        return Gold(name, words, list(labels), lambda text, _: f"{name}: text {text + 1}")
