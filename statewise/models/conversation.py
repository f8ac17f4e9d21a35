"""A classifier of the texts of a conversation, each in the light of those around it.

texts       where is my card?   yes        which one?      a text each, cut into words
words       x_1 ... x_5         x_1        x_1 ... x_3     of each word in its text
vectors     v_1                 v_2        v_3             poolings of each text, side by side
features    h_1                 h_2        h_3             of each text in its conversation
classes     question            answer     question        a CRF over the conversation, or each best

Kumar et al., "Dialogue Act Sequence Labeling using Hierarchical encoder with CRF", AAAI 2018,
arXiv:1709.04250, section 3, with any mixer for either reading.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from statewise.mixers.base import within
from statewise.models.conditioning import beside
from statewise.models.pooling import PoolingConfig, Pools
from statewise.models.reading import Reading, ReadingConfig
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.sequence_labelling import SequenceConfig, SequenceLabelling, TagState
from statewise.models.spelling import Sentences, Spelling, Vocabulary, check_sentences, cut


class ConversationConfig(SequenceConfig, PoolingConfig):
    """What a classifier of the texts of conversations is built from.

    Args:
        encoder: how a text is read.
        labels: the classes, in their order.
        output: "crf" scores classes and their order together; "softmax" each by itself.
        pooling: what makes one vector of a text, and how, as `PoolingConfig` has it: that, and
            `attention_layers` and `condition`.
        conversation: how texts are read, one after another.
    """

    called = "a classifier of conversations"

    conversation: ReadingConfig = Field(default_factory=ReadingConfig)


class Conversations(NamedTuple):
    """A batch of conversations."""

    texts: Sentences
    """Of all, one conversation after another."""
    lengths: Int[Tensor, " batch"]
    """How many texts each has."""

    @property
    def size(self) -> int:
        """How many words there are."""
        return self.texts.size


class ConversationSpelling(NamedTuple):
    """Many conversations, of which batches are made."""

    texts: Spelling
    """Of all, one conversation after another."""
    sizes: list[int]
    """How many texts each has."""

    def batch(self, which: Iterable[int]) -> Conversations:
        """Return some conversations, in the order given."""
        chosen = list(which)
        starts = list(accumulate(self.sizes, initial=0))
        rows = chain.from_iterable(range(starts[at], starts[at + 1]) for at in chosen)
        sizes = torch.tensor([self.sizes[at] for at in chosen], dtype=torch.int64)
        return Conversations(self.texts.batch(rows), sizes)

    def rows(self, at_once: int) -> Iterator[list[int]]:
        """Yield which conversations to read together: the longest first, of about one length.

        Args:
            at_once: words, padding included; at least one conversation in any case.
        """
        starts = list(accumulate(self.sizes, initial=0))
        longest = [
            max((len(places) for places in self.texts.places[start : start + size]), default=0)
            for start, size in zip(starts, self.sizes, strict=False)
        ]
        order = sorted(range(len(self.sizes)), key=lambda at: -self.sizes[at])
        while order:
            widest, taken = 0, list[int]()
            for at in order:
                widest = max(widest, longest[at])
                if taken and widest * (len(taken) + 1) * self.sizes[order[0]] > at_once:
                    break
                taken.append(at)
            yield taken
            order = order[len(taken) :]


class ConversationModel(SequenceLabelling[ConversationConfig]):
    """Classifies the texts of conversations, which are lists of texts.

    A text is a string, which it cuts into words, or a list of words.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        encoder: which reads a text, if it is at hand.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "conversation_classifier"
    configuration = ConversationConfig

    def __init__(
        self,
        config: ConversationConfig,
        vocabulary: Vocabulary,
        *,
        encoder: SentenceEncoder | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        self.pools = Pools(
            config,
            self.encoder.out,
            both_ways=config.encoder.both_ways,
            known=vocabulary.numbers,
        )
        self.conversation = Reading(config.conversation, self.pools.out)
        self._begin(self.conversation.out, None)

    def read(self, sentence: Any) -> Any:
        """Return the words of each text of a conversation, which may be cut already."""
        if isinstance(sentence, str):
            return sentence
        return [cut(text) if isinstance(text, str) else text for text in sentence]

    def check(self, read: Sequence[Any]) -> None:
        """Refuse what are no lists of texts."""
        for number, conversation in enumerate(read, 1):
            if isinstance(conversation, str):
                raise ValueError(
                    f"conversation {number} is a string; a conversation is a list of texts"
                )
            try:
                check_sentences(conversation)
            except ValueError as error:
                raise ValueError(f"conversation {number}: {error}") from None

    def spell(self, read: Sequence[Any]) -> ConversationSpelling:
        """Return conversations as numbers."""
        texts = self.vocabulary.spell(chain.from_iterable(read), buckets=self.buckets)
        return ConversationSpelling(texts, [len(conversation) for conversation in read])

    def features(self, sentences: Conversations) -> Float[Tensor, "batch time out"]:
        """Return the features of each text in its conversation; zero in the padding."""
        lengths = sentences.lengths
        vectors = self._vectors(sentences.texts)
        real = within(lengths, int(lengths.max()) if len(lengths) else 0)[..., None]
        x = vectors.new_zeros(*real.shape[:2], self.pools.out).masked_scatter(real, vectors)
        return self.conversation.read(x, lengths)

    def _vectors(self, texts: Sentences) -> Float[Tensor, "texts pooled"]:
        return self.pools(beside(self.encoder(texts), texts), texts.lengths)

    def _before(self) -> tuple[Any, ...]:
        if self.config.conversation.both_ways or self.config.conversation.context:
            raise ValueError(
                "what reads a conversation from its end cannot label it while it goes on: train "
                "with --conversation.both_ways false, and without --conversation.context"
            )
        return self.conversation.initial_state(1)

    def _scores(
        self, items: Sequence[Any], state: TagState, ended: bool
    ) -> tuple[Float[Tensor, "undecided tags"], tuple[Any, ...], Int[Tensor, " 1"]]:
        """Return the scores of all texts that have no class yet, and what was read."""
        del ended
        if not len(items):
            return state.scores[0], state.layers, state.heard
        read = [self.read(items)]
        self.check(read)
        texts = self.spell(read).batch([0]).texts
        y, layers = self.conversation.resume(self._vectors(texts)[None], state.layers)
        return torch.cat([state.scores[0], self.scores(y[0])]), layers, state.heard + len(items)
