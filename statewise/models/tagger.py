"""A tagger: a sentence of words in, a tag for each word out.

Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, arXiv:1508.01991,
section 2, with any mixer in place of the LSTM; words are spelled as in word_encoder.py.

    words      Uma    visited  Le     Havre
    features   x_1    x_2      x_3    x_4          of each word in its sentence
    emissions  W x_1  W x_2    W x_3  W x_4        a score for each tag
    tags       B-PER  O        B-LOC  I-LOC        the best path of a CRF, or each word's best tag
"""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.sequence_labelling import Legal, SequenceConfig, SequenceLabelling, TagState
from statewise.models.spelling import Vocabulary, check_sentences

Ahead = Annotated[int, Field(ge=0)]


class TaggerConfig(SequenceConfig):
    """What a tagger is built from.

    Args:
        encoder: how it reads.
        labels: the tags, in their order.
        output: "crf" scores tags and their order together; "softmax" each tag alone; "transitions"
            finds spans, see `statewise.models.transitions`.
        scheme: in which the tags are written, such as "BIO"; null where they are no spans.
        spans: where transitions find them, of each type how they are written: the tag of a single
            word, of the first, of one inside and of the last, and after them perhaps that of the
            first where the span touches one of its type.
        look_ahead: words after one that are read before it is tagged, of an encoder that reads from
            the left alone.
    """

    called = "a tagger"

    scheme: str | None = None
    spans: dict[str, Annotated[list[str], Field(min_length=4, max_length=5)]] | None = None
    look_ahead: Ahead = 0


class TaggingModel(SequenceLabelling[TaggerConfig]):
    """Tags words.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        legal: which tags may follow which, see `statewise.models.CRF`; all may if absent. What is
            loaded brings its own.
        encoder: which reads, if it is at hand.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "tagger"
    configuration = TaggerConfig

    def __init__(
        self,
        config: TaggerConfig,
        vocabulary: Vocabulary,
        *,
        legal: Legal | None = None,
        encoder: SentenceEncoder | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        if config.look_ahead and config.encoder.both_ways:
            raise ValueError(
                f"look_ahead = {config.look_ahead} is of an encoder that reads from the left "
                "alone: turn off both_ways"
            )
        self._begin(self.encoder.out, legal, config.spans)

    @property
    def look_ahead(self) -> int:
        """Words after one that are read before it is tagged."""
        return self.config.look_ahead

    def _before(self) -> tuple[Any, ...]:
        return self.encoder.initial_state(1)

    def _scores(
        self, items: Sequence[Any], state: TagState, ended: bool
    ) -> tuple[Float[Tensor, "undecided tags"], tuple[Any, ...], Int[Tensor, " 1"]]:
        """Return the scores of all words that have no tag yet, and what was read."""
        check_sentences([items], tuple(self.vocabulary.features))
        sentence = self.vocabulary.spell([items], buckets=self.buckets).batch([0])
        x = self.encoder.words(sentence)
        if ended:
            x = functional.pad(x, (0, 0, 0, self.config.look_ahead))
        layers, heard = state.layers, state.heard + x.shape[1]
        scores = state.scores[0]
        if x.shape[1]:
            y, layers = self.encoder.resume(x, layers)
            early = max(0, self.config.look_ahead - int(state.heard))
            scores = torch.cat([scores, self.scores(y[0, early:])])
        return scores, layers, heard
