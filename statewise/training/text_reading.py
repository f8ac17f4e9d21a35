"""How texts become vectors in a training: which poolings, and what a lexicon says to them."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from statewise.models.pooling import PoolingConfig
from statewise.models.spelling import Vocabulary, cut, key
from statewise.tasks.lexicon import Lexicon, read_lexicon
from statewise.training.configuration import ClassifierRun

CONDITION = "gate"
"""What a lexicon does to attention if nothing else is asked for: the best form of its paper."""


class TextReading(NamedTuple):
    """What makes one vector of a text."""

    pooling: PoolingConfig = PoolingConfig()
    lexicon: Lexicon | None = None
    """What is known of words beforehand, if anything."""

    @classmethod
    def of(cls, config: ClassifierRun) -> "TextReading":
        """Return what is asked for.

        Raises:
            ValueError, FileNotFoundError: as `statewise.tasks.lexicon.read_lexicon` does.
        """
        lexicon = None if config.lexicon is None else read_lexicon(config.lexicon)
        condition = None if lexicon is None else config.condition or CONDITION
        pooling = PoolingConfig(
            pooling=config.pooling, attention_layers=config.attention_layers, condition=condition
        )
        return cls(pooling, lexicon)

    def fields(self) -> dict[str, Any]:
        """Return what a model is built from."""
        return {name: getattr(self.pooling, name) for name in PoolingConfig.model_fields}

    def known(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return a vocabulary with the lexicon, if there is one."""
        return vocabulary if self.lexicon is None else vocabulary.with_lexicon(self.lexicon.words)

    def notes(self, name: str, texts: Iterable[Sequence[str]]) -> tuple[str, ...]:
        """Return what is worth saying of the lexicon, a sentence each.

        Args:
            name: of the data.
            texts: of it, in words.

        Raises:
            ValueError: if the lexicon knows no word of them.
        """
        if self.lexicon is None:
            return ()
        path, entries = self.lexicon.path, self.lexicon.words
        listed = {key(word) for word in entries}
        words = {key(word) for text in texts for word in text}
        met = len(words & listed)
        if not met:
            raise ValueError(f"{path}: it knows no word of {name}")
        notes = (
            *self.lexicon.notes,
            f"{path}: {self.lexicon.numbers} numbers for {len(listed)} words; of the {len(words)} "
            f"of {name} it knows {met}",
        )
        if several := sum(len(cut(word)) > 1 for word in entries):
            notes += (f"{path}: {several} entries are cut into several words, and never met",)
        return notes
