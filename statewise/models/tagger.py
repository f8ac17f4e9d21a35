"""A tagger: a sentence of words in, a tag for each word out.

Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, arXiv:1508.01991,
section 2, with any mixer in place of the LSTM; words are spelled as in word_encoder.py.

    words      Uma    visited  Le     Havre
    features   x_1    x_2      x_3    x_4          of each word in its sentence
    emissions  W x_1  W x_2    W x_3  W x_4        a score for each tag
    tags       B-PER  O        B-LOC  I-LOC        the best path of a CRF, or each word's best tag
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.models.crf import CRF
from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.spelling import Sentences, Vocabulary

Legal = tuple[Tensor, Tensor, Tensor]
"""With which tags a sentence may begin, which may follow which, with which it may end."""


class TaggerConfig(LabelConfig):
    """What a tagger is built from.

    Args:
        encoder: how it reads.
        labels: the tags, in their order.
        output: "crf" scores tags and their order together; "softmax" each tag alone.
        scheme: in which the tags are written, such as "BIO"; null where they are no spans.
    """

    called = "a tagger"

    output: Literal["crf", "softmax"] = "crf"
    scheme: str | None = None


class TaggingModel(Labelling[TaggerConfig]):
    """Tags words.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        legal: which tags may follow which, see `statewise.models.CRF`; all may if absent. What is
            loaded brings its own.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "tagger"
    configuration = TaggerConfig

    def __init__(self, config: TaggerConfig, vocabulary: Vocabulary, *, legal: Legal | None = None):
        super().__init__(config, vocabulary)
        self.head = nn.Linear(self.encoder.out, len(self.labels))
        self.crf = CRF(len(self.labels), legal=legal) if config.output == "crf" else None

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch time tags"]:
        """Return the score of each tag for each word, in float32 or wider."""
        scores = self.head(self.encoder(sentences))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def loss(self, sentences: Sentences, targets: Int[Tensor, "batch time"]) -> Float[Tensor, ""]:
        """Return what the right tags cost, summed over all words, in nats.

        Raises:
            ValueError: if tags break the rules.
        """
        emissions = self(sentences)
        if self.crf is not None:
            return self.crf(emissions, targets, lengths=sentences.lengths).sum()
        real = within(sentences.lengths, emissions.shape[1])
        return functional.cross_entropy(emissions[real], targets[real], reduction="sum")

    def answer(self, sentences: Sentences) -> list[list[int]]:
        """Return the tags of each sentence, as their numbers."""
        emissions = self(sentences)
        if self.crf is not None:
            tags = self.crf.viterbi(emissions, lengths=sentences.lengths).tags
        else:
            tags = emissions.argmax(2)
        lengths = sentences.lengths.tolist()
        return [row[:n] for row, n in zip(tags.tolist(), lengths, strict=True)]

    def probabilities(self, sentences: Sentences) -> list[Tensor]:
        """Return the probabilities of the tags, (words, tags), for each sentence.

        A CRF's are its marginals: all paths through a tag count, and not the best one alone.
        """
        emissions = self(sentences)
        if self.crf is not None:
            found = self.crf.marginals(emissions, lengths=sentences.lengths)
        else:
            found = emissions.softmax(2)
        lengths = sentences.lengths.tolist()
        return [row[:n].clone() for row, n in zip(found, lengths, strict=True)]

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """Return the tags of sentences, lists of words.

        Raises:
            ValueError: for what is no list of words.
        """
        return [tuple(self.labels[tag] for tag in tags) for tags in self.answers(sentences)]
