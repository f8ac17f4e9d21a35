"""What is peculiar to the training of a classifier of the texts of conversations."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from statewise.models.conversation import ConversationModel
from statewise.models.reading import ReadingConfig
from statewise.models.spelling import Vocabulary
from statewise.training.labels import Gold
from statewise.training.tag_work import SequenceWork
from statewise.training.text_reading import TextReading


class ConversationWork(SequenceWork[ConversationModel]):
    """What is peculiar to the training of a classifier of the texts of conversations.

    Args:
        reading: what makes one vector of a text.
        conversation: how texts are read, one after another.
        output: "crf" or "softmax".
    """

    what, target, said = "classifier", "text", "label"
    model = ConversationModel

    def __init__(self, reading: TextReading, conversation: ReadingConfig, output: str = "crf"):
        super().__init__(output, "none")
        self.reading, self.conversation = reading, conversation

    @classmethod
    def of(cls, model: ConversationModel) -> "ConversationWork":
        """Return that of a model that is trained."""
        config = model.config
        work = cls(TextReading(config), config.conversation, config.output)
        work._labels = list(model.labels)
        return work

    def texts(self, gold: Gold) -> Iterable[Sequence[Any]]:
        """Return the texts of all conversations, in words."""
        return chain.from_iterable(gold.sentences)

    def known(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with the lexicon, if there is one."""
        return self.reading.known(vocabulary)

    def learn(self, gold: Gold) -> Gold:
        """Note the classes, and how much the lexicon knows."""
        learned = super().learn(gold)
        if len(self._labels) < 2:
            raise ValueError(
                f"{gold.name}: all texts to train on have one label, {self._labels[0]!r}"
            )
        notes = self.reading.notes(gold.name, self.texts(gold))
        return learned._replace(notes=(*learned.notes, *notes))

    def check(self, gold: Gold) -> tuple[str, ...]:
        """Return what is odd about classes to score with: those that no training has shown.

        Raises:
            ValueError: if all are such, or the texts stand in no conversations.
        """
        if any(isinstance(labels, str) for labels in gold.labels):
            raise ValueError(
                f"{gold.name}: the classifier reads texts in conversations, and these stand in none"
            )
        return super().check(gold)

    def fields(self) -> dict[str, Any]:
        """Return what a model is built from beside its encoder."""
        own = {"labels": self._labels, "output": self.output, "conversation": self.conversation}
        return {**own, **self.reading.fields()}
