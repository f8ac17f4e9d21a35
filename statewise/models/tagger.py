"""A tagger: a sentence of words in, a tag for each word out.

Huang, Xu and Yu, "Bidirectional LSTM-CRF Models for Sequence Tagging", 2015, arXiv:1508.01991,
section 2, with any mixer in place of the LSTM; words are spelled as in word_encoder.py.

    words      Uma    visited  Le     Havre
    features   x_1    x_2      x_3    x_4          of each word in its sentence
    emissions  W x_1  W x_2    W x_3  W x_4        a score for each tag
    tags       B-PER  O        B-LOC  I-LOC        the best path of a CRF, or each word's best tag
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.models.crf import CRF
from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.spelling import Sentences, Vocabulary, check_sentences

Ahead = Annotated[int, Field(ge=0)]

Output = Literal["crf", "softmax"]

Legal = tuple[Tensor, Tensor, Tensor]
"""With which tags a sentence may begin, which may follow which, with which it may end."""


class TaggerConfig(LabelConfig):
    """What a tagger is built from.

    Args:
        encoder: how it reads.
        labels: the tags, in their order.
        output: "crf" scores tags and their order together; "softmax" each tag alone.
        scheme: in which the tags are written, such as "BIO"; null where they are no spans.
        look_ahead: words after one that are read before it is tagged, of an encoder that reads from
            the left alone.
    """

    called = "a tagger"

    output: Output = "crf"
    scheme: str | None = None
    look_ahead: Ahead = 0


class TagState(NamedTuple):
    """Where a stream of words stands; a value, which `statewise.state` saves. Batch is 1."""

    layers: tuple[Any, ...]
    """Of the encoder."""
    scores: Float[Tensor, "batch undecided tags"]
    """Of the tags of words that were heard and have no tag yet."""
    before: Int[Tensor, " batch"]
    """The last tag that was said; -1 for none."""
    heard: Int[Tensor, " batch"]
    """Words of the sentence so far."""


class TaggingModel(Labelling[TaggerConfig]):
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
    labels: tuple[str, ...]

    def __init__(
        self,
        config: TaggerConfig,
        vocabulary: Vocabulary,
        *,
        legal: Legal | None = None,
        encoder: SentenceEncoder | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        self.labels = tuple(config.labels)
        if config.look_ahead and config.encoder.both_ways:
            raise ValueError(
                f"look_ahead = {config.look_ahead} is of an encoder that reads from the left "
                "alone: turn off both_ways"
            )
        self.head = nn.Linear(self.encoder.out, len(self.labels))
        self.crf = CRF(len(self.labels), legal=legal) if config.output == "crf" else None

    @property
    def look_ahead(self) -> int:
        """Words after one that are read before it is tagged."""
        return self.config.look_ahead

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch time tags"]:
        """Return the score of each tag for each word, in float32 or wider."""
        return self.scores(self.features(sentences))

    def scores(self, x: Float[Tensor, "*batch time out"]) -> Float[Tensor, "*batch time tags"]:
        """Return the score of each tag for each word, in float32 or wider, from their features."""
        scores = self.head(x)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def cost(
        self,
        x: Float[Tensor, "batch time out"],
        lengths: Int[Tensor, " batch"],
        targets: Int[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        """Return what the right tags cost, summed over all words, in nats.

        Args:
            x: features of the words.
            lengths: of the sentences.
            targets: the right tags, as their numbers.

        Raises:
            ValueError: if tags break the rules.
        """
        emissions = self.scores(x)
        if self.crf is not None:
            return self.crf(emissions, targets, lengths=lengths).sum()
        real = within(lengths, emissions.shape[1])
        return functional.cross_entropy(emissions[real], targets[real], reduction="sum")

    def best(
        self, x: Float[Tensor, "batch time out"], lengths: Int[Tensor, " batch"]
    ) -> list[list[int]]:
        """Return the tags of each sentence, as their numbers."""
        emissions = self.scores(x)
        if self.crf is not None:
            tags = self.crf.viterbi(emissions, lengths=lengths).tags
        else:
            tags = emissions.argmax(2)
        return [row[:n] for row, n in zip(tags.tolist(), lengths.tolist(), strict=True)]

    def chances(
        self, x: Float[Tensor, "batch time out"], lengths: Int[Tensor, " batch"]
    ) -> list[Tensor]:
        """Return the probabilities of the tags, (words, tags), for each sentence.

        A CRF's are its marginals: all paths through a tag count, and not the best one alone.
        """
        emissions = self.scores(x)
        if self.crf is not None:
            found = self.crf.marginals(emissions, lengths=lengths)
        else:
            found = emissions.softmax(2)
        return [row[:n].clone() for row, n in zip(found, lengths.tolist(), strict=True)]

    def named(self, found: Sequence[int]) -> tuple[str, ...]:
        """Return the tags that have these numbers."""
        return tuple(self.labels[tag] for tag in found)

    def initial_state(self, batch: int = 1) -> TagState:
        """Return the state before a sentence.

        Args:
            batch: 1.

        Raises:
            ValueError: if the encoder reads from the right too; or for another batch.
        """
        if batch != 1:
            raise ValueError(f"a stream of words is one: batch = {batch} should be 1")
        device = self.head.weight.device
        return TagState(
            self.encoder.initial_state(1),
            torch.zeros(1, 0, len(self.labels), device=device),
            torch.full((1,), -1, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
        )

    @torch.no_grad()
    def stream(
        self, words: Sequence[Any], state: TagState, *, ended: bool = False, lag: int = 1
    ) -> tuple[list[str], TagState]:
        """Read words as they arrive; return the tags that are decided, and the state.

        Tags come in the order of the words, `look_ahead` and, with a CRF, `lag` words later. How
        the words are cut into pieces makes no difference. A CRF's tags go on from those that were
        said, so that its rules hold; with a lag as long as the sentence they are `predict`'s.

        Args:
            words: the next ones, none or more, with their features if there are some.
            state: what the last call returned, or `initial_state()`.
            ended: whether the sentence ends with these: all its tags are returned.
            lag: words whose scores a CRF waits for, at least 1.

        Raises:
            ValueError: if the encoder reads from the right too, or for a lag below 1.
        """
        if lag < 1:
            raise ValueError(f"lag = {lag} should be at least 1: a last tag has rules of its own")
        training = self.training
        self.eval()
        try:
            scores, layers, heard = self._scores(words, state, ended)
        finally:
            self.train(training)
        tags, before = [], int(state.before)
        while len(scores) > (lag if self.crf is not None and not ended else 0):
            before = self._next(scores[: lag + 1], before, ended and len(scores) <= lag)
            tags.append(self.labels[before])
            scores = scores[1:]
        if ended:
            return tags, self.initial_state()
        said = torch.full_like(state.before, before)
        return tags, TagState(layers, scores[None], said, heard)

    def _scores(
        self, words: Sequence[Any], state: TagState, ended: bool
    ) -> tuple[Float[Tensor, "undecided tags"], tuple[Any, ...], Int[Tensor, " 1"]]:
        """Return the scores of all words that have no tag yet, and what was read."""
        check_sentences([words], tuple(self.vocabulary.features))
        sentence = self.vocabulary.spell([words], buckets=self.buckets).batch([0])
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

    def _next(self, scores: Float[Tensor, "time tags"], before: int, ended: bool) -> int:
        if self.crf is None:
            return int(scores[0].argmax())
        return self.crf.next_tag(scores, before=None if before < 0 else before, ended=ended)
