"""Training a model that labels, from examples to a saved model and its score."""

import abc
import json
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from statewise.models import pretrained
from statewise.models.classifier import ClassifyingModel
from statewise.models.conversation import ConversationModel
from statewise.models.joint_tagger import JointTaggingModel
from statewise.models.labelling import Labelling
from statewise.models.sentence_encoder import EncoderConfig
from statewise.models.speller import SpellingModel
from statewise.models.spelling import UNKNOWN, Vocabulary, key, surface
from statewise.models.tagger import TaggingModel
from statewise.models.vectors import read_vectors
from statewise.training.configuration import LabelRun
from statewise.training.epochs import Epochs
from statewise.training.lessons import Lessons, Taken
from statewise.training.loop import Outcome, Training, refuse_names
from statewise.training.memory import keep_memory
from statewise.training.processes import Processes
from statewise.training.progress import Progress, described
from statewise.training.runs import begin, checkpoint
from statewise.training.transfer import Start

Model = TypeVar("Model", bound=Labelling[Any])

Report = Any
"""A `SpanReport` or a `ClassReport`, or one of each head: printed, a table."""

KINDS: dict[str, type[Labelling[Any]]] = {
    model.kind: model
    for model in (
        TaggingModel,
        SpellingModel,
        ClassifyingModel,
        ConversationModel,
        JointTaggingModel,
    )
}

GIVEN = "(given in Python)"
"""What stands in a configuration for a file, where there is none."""

FREQUENT = 50_000
"""Words from the beginning of a file of vectors that are known whether the data has them or not."""


class Gold(NamedTuple):
    """Sentences, and how they should be labelled."""

    name: str
    sentences: list[tuple[Any, ...]]
    """Of words, or of words with their features; or conversations, of texts that are such."""
    labels: list[Any]
    """Of each sentence: a tag for each word, None where it is not known, or one class; or these by
    the names of heads."""
    place: Callable[[int, int], str]
    """Says where a word, from 0, of a sentence, from 0, stands."""
    notes: tuple[str, ...] = ()
    """One sentence each on what was left out or found out."""
    features: tuple[str, ...] = ()
    """The names of those that words have."""

    def part(self, which: Sequence[int]) -> "Gold":
        """Return some of the sentences."""
        return self._replace(
            sentences=[self.sentences[at] for at in which],
            labels=[self.labels[at] for at in which],
            place=lambda sentence, word: self.place(which[sentence], word),
            notes=(),
        )


class Golds(NamedTuple):
    """What a training needs to see."""

    train: Gold
    dev: Gold | None
    """A part of `train` if absent."""
    test: Gold | None

    @classmethod
    def read(cls, data: Any, reader: Callable[[str, Any], Gold]) -> "Golds":
        """Return what the files of a configuration hold."""
        others = (None if path is None else reader(path, data) for path in (data.dev, data.test))
        return cls(reader(data.train, data), *others)


class Work(abc.ABC, Generic[Model]):
    """What the trainings of taggers and of classifiers do otherwise."""

    what: str
    """Is trained: "tagger" or "classifier"."""

    target: str
    """What is labelled: "word" or "text", or "label" of several heads."""

    @property
    @abc.abstractmethod
    def score(self) -> str:
        """What says how good it is: "accuracy" or "f1"."""

    def texts(self, gold: Gold) -> Iterable[Sequence[Any]]:
        """Return all lists of words of examples."""
        return gold.sentences

    def known(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with what is known of words beforehand."""
        return vocabulary

    @abc.abstractmethod
    def learn(self, gold: Gold) -> Gold:
        """Look at what there is to train on; return it as it is trained on.

        Raises:
            ValueError: names the place of what cannot be trained on.
        """

    @property
    @abc.abstractmethod
    def labels(self) -> list[str]:
        """All labels that were learned of, in an order that does not depend on that of the data."""

    @abc.abstractmethod
    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about labels to score with, a sentence each.

        Raises:
            ValueError: if a model knows none of them.
        """

    def scored(self, gold: Gold) -> Gold:
        """Return those examples of which everything is known that their score needs."""
        return gold

    @abc.abstractmethod
    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> Model:
        """Return a fresh model."""

    @abc.abstractmethod
    def targets(self, labels: list[Any]) -> list[Any]:
        """Return the labels of sentences as numbers, a tensor each, or one for each head."""

    @abc.abstractmethod
    def batch(self, targets: list[Any]) -> tuple[Any, int]:
        """Return the numbers of several sentences together, and how many they are."""

    @abc.abstractmethod
    def report(self, gold: Gold, found: list[Any]) -> Report:
        """Return how well the labels that were found fit those of examples."""

    @abc.abstractmethod
    def value(self, report: Report) -> float:
        """Return the score of a report, from 0 to 1."""

    def scores(self, report: Report) -> dict[str, tuple[Report, float]]:
        """Return reports and their scores, by what these are called."""
        return {self.score: (report, self.value(report))}


class OneHead(Work[Model]):
    """What the trainings of models with labels of one kind have in common: how these are kept."""

    model: type[Model]
    """What is trained."""

    def __init__(self):
        self._labels: list[str] = []

    @property
    def labels(self) -> list[str]:
        """All labels that were learned of."""
        return self._labels

    @abc.abstractmethod
    def fields(self) -> dict[str, Any]:
        """Return what a model is built from beside its encoder."""

    def build(self, encoder: EncoderConfig, vocabulary: Vocabulary) -> Model:
        """Return a fresh model."""
        return self.model(self.configured(encoder), vocabulary)

    def configured(self, encoder: EncoderConfig) -> Any:
        """Return what a model with this encoder is built from."""
        return self.model.configuration.model_validate({"encoder": encoder, **self.fields()})


@dataclass(frozen=True)
class Trained(Generic[Model]):
    """A trained model and its scores."""

    model: Model
    scores: dict[str, tuple[Report, float]]
    """By names such as "test_accuracy": the report and its score. Empty if it was interrupted."""
    outcome: Outcome
    folder: Path


class LabelLessons(Lessons):
    """Batches of labelled sentences, epoch after epoch.

    Args:
        model: learns them.
        work: how.
        gold: what is learned.
        dev: what the model is examined with.
        config: how many sentences a step reads, in which order.
    """

    token = "word"

    def __init__(
        self, model: Labelling[Any], work: Work[Any], gold: Gold, dev: Gold, config: LabelRun
    ):
        self.model, self.work, self.dev = model, work, dev
        self.target, self.loss = work.target, f"bits_per_{work.target}"
        self.spelling = model.spell(gold.sentences)
        self.targets = work.targets(gold.labels)
        self.epochs = Epochs([len(words) for words in gold.sentences], config.batch, config.seed)
        self.states: list[Any] = []
        self.scores: dict[str, float] = {}

    def examples(self, processes: Processes) -> list[Any]:
        """Return nothing: no state is carried from one sentence to another."""
        return []

    def backward(self, wrapped: Any, done: Progress, processes: Processes) -> Taken:
        """Read some sentences, and learn their labels."""
        rows = self.epochs.rows(done.step)
        sentences = self.spelling.batch(rows)
        words = sentences.size
        targets, count = self.work.batch([self.targets[at] for at in rows])
        sentences, targets = tree_map(lambda x: x.to(processes.device), (sentences, targets))
        with processes.precision():
            nats = wrapped.loss(sentences, targets)
        (nats / count).backward()
        return Taken(nats.item(), count, words)

    def cost(self) -> float:
        """Label the held-out data; return the share that is wrong, or 1 less F1."""
        report = examined(self.work, self.model, self.dev)
        self.scores = {name: value for name, (_, value) in self.work.scores(report).items()}
        return 1 - self.work.value(report)

    def figures(self, cost: float) -> dict[str, float]:
        """Return the score, and those of several heads."""
        return {self.work.score: 1 - cost, **self.scores}

    def sentence(self, cost: float) -> str:
        """Return the score in words."""
        return f"{self.short(cost)} on held-out data"

    def short(self, cost: float) -> str:
        """Return the score in percent."""
        return f"{self.work.score} {100 * (1 - cost):.2f}"


def train(config: LabelRun, work: Work[Model], golds: Golds) -> Trained[Model]:
    """Train a model as `config` says; return the best of its checkpoints.

    Raises:
        ValueError, OSError: for data, a mixer, a size or a folder that will not do, before anything
            is written.
    """
    keep_memory()
    processes = Processes(config)
    if processes.count > 1:
        raise ValueError(f"a {work.what} is trained by one process, not {processes.count}")
    about = {"data": zlib.crc32(json.dumps([golds.train.sentences, golds.train.labels]).encode())}
    learned = work.learn(golds.train)
    train, dev = _split(golds._replace(train=learned), config)
    odd = tuple(note for gold in (dev, golds.test) if gold for note in work.check(gold))
    start = None
    if config.start is not None:
        start = Start(config.start, load(config.start), checkpoint(config.start))
        config = config.model_copy(update={"model": start.encoder(config.model)})
        about["start"] = start.weights
    torch.manual_seed(config.seed)
    encoder, vocabulary, vectors = _known(config, work, golds, train)
    if start is not None:
        vocabulary = start.vocabulary(vocabulary, train.name)
    vocabulary = work.known(vocabulary)
    if vocabulary.lexicon:
        about["lexicon"] = zlib.crc32(json.dumps(vocabulary.lexicon).encode())
    model = work.build(encoder, vocabulary)
    if start is not None:
        start.give(model, head=config.keep_head)
    if vectors and model.encoder.words.embedding is not None:
        begin_with(model.encoder.words.embedding.weight, vocabulary, vectors)
    refuse_names(config, model)
    lessons = LabelLessons(model, work, train, dev, config)
    run = begin(config, processes)
    for gold in golds:
        for note in gold.notes if gold is not None else ():
            run.say(note)
    for note in (*learned.notes, *odd):
        run.say(note)
    if start is not None:
        new = len(vocabulary) - len(start.model.vocabulary)
        run.say(f"begins with {start.folder}, and {new} words that are new to it")
    if last := run.last():
        # First: of other data the vocabulary is another, and the weights do not fit.
        described(last, about)
        pretrained.read_weights(last, model)
    parameters = sum(p.numel() for p in model.parameters())
    run.say(
        f"{parameters} parameters, {len(vocabulary)} words, {len(work.labels)} labels; to train "
        f"on: {len(train.sentences)} sentences, held out: {len(dev.sentences)}"
    )
    training = Training(
        model, lessons, _ends(config, lessons), run, processes=processes, about=about
    )
    outcome = training.run_to_its_end()
    model = type(model).from_pretrained(checkpoint(config.out))
    scores: dict[str, tuple[Report, float]] = {}
    if outcome.signal is None:
        for part, gold in (("held_out", dev), ("test", golds.test)):
            if gold is not None:
                for score, found in work.scores(examined(work, model, gold)).items():
                    name, (_, value) = f"{part}_{score}", found
                    scores[name] = found
                    run.measure(step=outcome.steps, **{name: value})
                    run.say(f"{score} {100 * value:.2f} on {gold.name}, with the best checkpoint")
    processes.close()
    return Trained(model, scores, outcome, run.folder)


def load(folder: str | Path) -> Labelling[Any]:
    """Return the tagger or the classifier in a folder, or the best checkpoint of a run.

    Raises:
        FileNotFoundError: if there is neither.
        ValueError: if a file is damaged, or the model labels nothing.
    """
    folder = checkpoint(folder)
    kind = pretrained.kind_of(folder)
    if kind not in KINDS:
        raise ValueError(f"{folder} holds a {kind}, which labels nothing")
    return KINDS[kind].from_pretrained(folder)


def examined(work: Work[Any], model: Labelling[Any], gold: Gold) -> Report:
    """Return how well a model labels examples."""
    return work.report(gold, model.predict(gold.sentences))


def begin_with(weight: Tensor, vocabulary: Vocabulary, vectors: dict[str, Tensor]) -> None:
    """Put vectors of words where the words' own are; unknown words begin as their mean.

    Args:
        weight: of all words, (2 + words, dim), changed in place.
        vocabulary: of the words.
        vectors: by keys of words.
    """
    with torch.no_grad():
        for place, word in enumerate(vocabulary.words, UNKNOWN + 1):
            if word in vectors:
                weight[place] = vectors[word]
        weight[UNKNOWN] = torch.stack(list(vectors.values())).mean(0)


def _ends(config: LabelRun, lessons: LabelLessons) -> LabelRun:
    """Return the configuration with its epochs as steps, of which a tenth at most warm up."""
    epoch = lessons.epochs.steps
    steps = min(config.max_epochs * epoch, config.max_steps or math.inf)
    readings = config.evaluation
    if readings.steps is None and readings.seconds is None:
        readings = readings.model_copy(update={"steps": epoch})
    warm_up = min(config.optimizer.warm_up, int(steps) // 10)
    optimizer = config.optimizer.model_copy(update={"warm_up": warm_up})
    ends = {"max_steps": int(steps), "evaluation": readings, "optimizer": optimizer}
    return config.model_copy(update=ends)


def _split(golds: Golds, config: LabelRun) -> tuple[Gold, Gold]:
    """Return what is trained on and what is held out."""
    train = golds.train
    if golds.dev is not None:
        return train, golds.dev
    share = config.data.held_out
    held_out = max(1, round(len(train.sentences) * share))
    if held_out >= len(train.sentences):
        raise ValueError(
            f"{train.name}: too few examples to hold out {share:g} of them: {len(train.sentences)}"
        )
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(train.sentences), generator=generator).tolist()
    dev = train.part(sorted(order[:held_out]))._replace(name=f"the held-out part of {train.name}")
    return train.part(sorted(order[held_out:])), dev


def _known(
    config: LabelRun, work: Work[Any], golds: Golds, train: Gold
) -> tuple[EncoderConfig, Vocabulary, dict[str, Tensor]]:
    """Return how words are read, which are known, and the vectors that some begin with."""
    encoder = config.model
    vocabulary = Vocabulary.of(
        work.texts(train), minimum=encoder.words.minimum, features=train.features
    )
    if config.vectors is None:
        return encoder, vocabulary, {}
    everything = (work.texts(gold) for gold in golds if gold is not None)
    wanted = {key(surface(word)) for part in everything for words in part for word in words}
    vectors, dim = read_vectors(config.vectors, wanted, first=FREQUENT)
    if not vectors:
        raise ValueError(f"{config.vectors}: no word of the data has a vector in it")
    words = encoder.words.model_copy(update={"dim": dim})
    known = set(vocabulary.words)
    more = [word for word in vectors if word not in known]
    vocabulary = Vocabulary([*vocabulary.words, *more], vocabulary.characters, vocabulary.features)
    return encoder.model_copy(update={"words": words}), vocabulary, vectors
