"""What a tagger and a classifier share: sentences in batches of one length, and a folder."""

import abc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import torch
from jaxtyping import Float
from pydantic import AfterValidator
from torch import Tensor, nn

from statewise.models import pretrained
from statewise.models.configuration import Configuration, stored
from statewise.models.sentence_encoder import EncoderConfig, SentenceEncoder
from statewise.models.spelling import Vocabulary, check_sentences

Answer = TypeVar("Answer")
Config = TypeVar("Config", bound="LabellingConfig")
This = TypeVar("This", bound="Labelling[Any]")

AT_ONCE = 4096
"""Words that are read at once, padding included, where the answers alone are wanted."""

VOCABULARY = "vocabulary.json"


def _different(labels: list[str]) -> list[str]:
    if not labels or len(set(labels)) != len(labels):
        raise ValueError("labels should be different ones, one at least")
    return labels


Labels = Annotated[list[str], AfterValidator(_different)]


class LabellingConfig(Configuration):
    """What a model that labels is built from.

    Args:
        encoder: how it reads.
    """

    encoder: EncoderConfig


class LabelConfig(LabellingConfig):
    """What a model with labels of one kind is built from.

    Args:
        encoder: how it reads.
        labels: which there are, in their order.
    """

    labels: Labels


class Labelling(nn.Module, abc.ABC, Generic[Config]):
    """A model that reads sentences, lists of words, and answers with labels.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        encoder: which reads, if it is at hand; one of several heads shares it with the others.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind: str
    """What `config.json` says it describes."""

    configuration: type[Config]
    """What it is built from."""

    labels: Any
    """All labels there are: a tuple, or one by the name of each head."""

    def __init__(
        self, config: Config, vocabulary: Vocabulary, *, encoder: SentenceEncoder | None = None
    ):
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.encoder = encoder or SentenceEncoder(config.encoder, vocabulary)

    @property
    def buckets(self) -> int:
        """Of the n-grams that sentences are spelled with."""
        return self.encoder.words.buckets

    @property
    def look_ahead(self) -> int:
        """Words after one that are read before its features are taken."""
        return 0

    def features(self, sentences: Any) -> Float[Tensor, "batch time out"]:
        """Return the features of each word; zero in the padding."""
        return self.encoder(sentences, look_ahead=self.look_ahead)

    @abc.abstractmethod
    def cost(
        self, x: Float[Tensor, "batch time out"], sentences: Any, targets: Any
    ) -> Float[Tensor, ""]:
        """Return what the right answers cost, summed over the batch, in nats.

        Args:
            x: features of the words.
            sentences: a batch of what these are.
            targets: the right answers, as numbers.
        """

    @abc.abstractmethod
    def best(self, x: Float[Tensor, "batch time out"], sentences: Any) -> list[Any]:
        """Return the labels of each sentence, as their numbers."""

    @abc.abstractmethod
    def chances(self, x: Float[Tensor, "batch time out"], sentences: Any) -> list[Any]:
        """Return the probabilities of all labels, for each sentence."""

    @abc.abstractmethod
    def named(self, found: Any, sentence: Sequence[Any]) -> Any:
        """Return the labels of a sentence, as `read` answers it, that have these numbers."""

    def loss(self, sentences: Any, targets: Any) -> Float[Tensor, ""]:
        """Return what the right answers to sentences cost, summed over the batch, in nats."""
        return self.cost(self.features(sentences), sentences, targets)

    def predict(self, sentences: Sequence[Any]) -> list[Any]:
        """Return the labels of sentences: tags for each word, or a class.

        Of several heads they stand by the names of these.

        Raises:
            ValueError: for what is no list of words.
        """
        read = [self.read(sentence) for sentence in sentences]
        return [self.named(*each) for each in zip(self.answers(read), read, strict=True)]

    def read(self, sentence: Any) -> Sequence[Any]:
        """Return the words of what is to be labelled."""
        return sentence

    def check(self, read: Sequence[Any]) -> None:
        """Refuse what is no list of words, by a ValueError."""
        check_sentences(read, tuple(self.vocabulary.features))

    def spell(self, read: Sequence[Any]) -> Any:
        """Return what was read as numbers, of which `batch` makes batches."""
        return self.vocabulary.spell(read, buckets=self.buckets)

    def answers(self, sentences: Sequence[Any]) -> list[Any]:
        """Return the labels of sentences, as their numbers.

        Raises:
            ValueError: for what is no list of words.
        """
        return self.over(sentences, lambda batch: self.best(self.features(batch), batch))

    def predict_proba(self, sentences: Sequence[Any]) -> list[Any]:
        """Return the probability of each label, in the order of `labels`.

        A tagger answers with (words, labels) for each sentence, a classifier with (labels,); of
        several heads they stand by the names of these.

        Raises:
            ValueError: for what is no list of words.
        """
        return self.over(sentences, lambda batch: self.chances(self.features(batch), batch))

    @torch.no_grad()
    def over(
        self,
        sentences: Sequence[Any],
        answer: Callable[[Any], Iterable[Answer]],
    ) -> list[Answer]:
        """Return an answer about each sentence, read together with others about as long.

        Args:
            sentences: to read, in eval mode and without gradients.
            answer: of a batch, one for each of its sentences.

        Raises:
            ValueError: for what is no list of words.
        """
        read = [self.read(sentence) for sentence in sentences]
        self.check(read)
        spelling = self.spell(read)
        found: dict[int, Answer] = {}
        training = self.training
        self.eval()
        try:
            for rows in spelling.rows(AT_ONCE):
                found.update(zip(rows, answer(spelling.batch(rows)), strict=True))
        finally:
            self.train(training)
        return [found[at] for at in range(len(read))]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model to a folder, which is made if it is missing.

        It then holds `config.json`, `model.safetensors` and `vocabulary.json`.
        """
        files = {VOCABULARY: self.vocabulary.save}
        pretrained.write(folder, self.kind, self.config.model_dump(), self, files)

    @classmethod
    def from_pretrained(cls: type[This], folder: str | Path) -> This:
        """Return the model in a folder, in eval mode.

        Raises:
            FileNotFoundError: if the folder or a file of it is missing.
            ValueError: if a file is damaged, or of another model.
        """
        config = stored(folder, cls.kind, cls.configuration)
        vocabulary = Vocabulary.load(Path(folder) / VOCABULARY)
        try:
            model = cls(config, vocabulary)
        except ValueError as error:
            raise ValueError(f"{Path(folder) / pretrained.CONFIG}: {error}") from None
        pretrained.read_weights(folder, model)
        return model.eval()
