"""Sentences in, features of every word in its sentence out: what taggers and classifiers share.

words -> features [-> filters] -> layers, as `statewise.models.reading` has them
"""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from statewise.models.filters import Filters
from statewise.models.reading import Reading, ReadingConfig
from statewise.models.spelling import Sentences, Vocabulary
from statewise.models.word_encoder import WordConfig, WordEncoder


class EncoderConfig(ReadingConfig):
    """How sentences are read.

    Args:
        words: how each word is.
        mixer: what reads the sentence: a name, or {name: ..., option: value}.
        hidden: features of each direction.
        depth: layers.
        wiring: what a layer reads: "plain", "residual" or "dense".
        both_ways: whether words after one count as well as those before it.
        dropout: the share of features that each sentence lacks while training, before, between and
            after the layers.
        context: whether a gate adds to each word what the whole sentence says, see
            `statewise.models.global_context`.
        filters: widths of convolutions over the words, side by side, which the layers read in their
            place; none if empty.
        filter_features: how many there are of each width.
    """

    called = "an encoder"

    words: WordConfig = Field(default_factory=WordConfig)
    filters: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    filter_features: Annotated[int, Field(ge=1)] = 32


class SentenceEncoder(Reading):
    """Features of the words of sentences, each as the whole sentence says.

    Args:
        config: which.
        vocabulary: of the words and characters that are known.

    Raises:
        ValueError: for a mixer or an option that does not exist, sizes that do not fit, or filters
            where words are read from the left alone.
    """

    def __init__(self, config: EncoderConfig, vocabulary: Vocabulary):
        words, filters = WordEncoder(config.words, vocabulary), None
        if config.filters:
            if not config.both_ways:
                raise ValueError(
                    "filters see words after one, which both_ways false promises not to: give up "
                    "either"
                )
            filters = Filters(words.out, config.filters, config.filter_features)
        super().__init__(config, words.out if filters is None else filters.out)
        self.words, self.filters = words, filters

    def forward(
        self, sentences: Sentences, *, look_ahead: int = 0
    ) -> Float[Tensor, "batch time out"]:
        """Return the features of each word; zero in the padding.

        Args:
            sentences: to read.
            look_ahead: words, or blanks after the last one, that are read before the features of a
                word are taken.
        """
        x = self.words(sentences)
        if self.filters is not None:
            x = self.filters(x, sentences.lengths)
        return self.read(x, sentences.lengths, look_ahead=look_ahead)
