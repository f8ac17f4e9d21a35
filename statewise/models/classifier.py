"""A classifier: a text in, one of several classes out.

words      where is my card           a text, cut by `statewise.models.spelling.cut`
features   x_1 ... x_4                of each word in its sentence, and what a lexicon knows of it
vector     [attention(x), max(x)]     one or several poolings over time, side by side
class      W vector + b               a score for each
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.models.conditioning import beside
from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.pooling import PoolingConfig, Pools
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.spelling import Sentences, Vocabulary, cut


class ClassifierConfig(LabelConfig, PoolingConfig):
    """What a classifier is built from.

    Args:
        encoder: how it reads.
        labels: the classes, in their order.
        pooling: what makes one vector of a text, and how, as `PoolingConfig` has it: that, and
            `attention_layers` and `condition`.
    """

    called = "a classifier"


class ClassifyingModel(Labelling[ClassifierConfig]):
    """Classifies texts: strings, which it cuts into words, or lists of words.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        encoder: which reads, if it is at hand.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "classifier"
    configuration = ClassifierConfig
    labels: tuple[str, ...]

    def __init__(
        self,
        config: ClassifierConfig,
        vocabulary: Vocabulary,
        *,
        encoder: SentenceEncoder | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        self.labels = tuple(config.labels)
        self.pools = Pools(
            config,
            self.encoder.out,
            both_ways=config.encoder.both_ways,
            known=vocabulary.numbers,
        )
        self.head = nn.Linear(self.pools.out, len(self.labels))

    def read(self, sentence: str | Sequence[str]) -> Sequence[str]:
        """Return the words of a text, which may be cut already."""
        return cut(sentence) if isinstance(sentence, str) else sentence

    def features(self, sentences: Sentences) -> Float[Tensor, "batch time read"]:
        """Return the features of each word, and after them what the lexicon knows of it."""
        return beside(super().features(sentences), sentences)

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch classes"]:
        """Return the score of each class, in float32 or wider."""
        return self.scores(self.features(sentences), sentences.lengths)

    def scores(
        self, x: Float[Tensor, "batch time read"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the score of each class, in float32 or wider, from the features of the words."""
        scores = self.head(self.pools(x, lengths))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def cost(
        self,
        x: Float[Tensor, "batch time read"],
        sentences: Sentences,
        targets: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Return what the right classes cost, summed over the batch, in nats.

        Args:
            x: features of the words.
            sentences: a batch of the texts.
            targets: the right classes, as their numbers.
        """
        return functional.cross_entropy(self.scores(x, sentences.lengths), targets, reduction="sum")

    def best(self, x: Float[Tensor, "batch time read"], sentences: Sentences) -> list[int]:
        """Return the class of each text, as its number."""
        return self.scores(x, sentences.lengths).argmax(1).tolist()

    def chances(self, x: Float[Tensor, "batch time read"], sentences: Sentences) -> list[Tensor]:
        """Return the probabilities of the classes, (classes,), for each text."""
        return list(self.scores(x, sentences.lengths).softmax(1))

    def named(self, found: int, sentence: Sequence[str]) -> str:
        """Return the class that has this number."""
        return self.labels[found]

    def attention(self, sentences: Sequence[str | Sequence[str]]) -> list[Tensor]:
        """Return what share each word of a text has in its vector, (words,), for each text.

        Of several poolings by attention it is the mean.

        Raises:
            ValueError: for what is no list of words, or if no pooling is by attention.
        """
        if "attention" not in self.config.pooling:
            raise ValueError(
                f"this classifier has no attention: its pooling is {', '.join(self.config.pooling)}"
            )
        return self.over(sentences, self._shares)

    def _shares(self, sentences: Sentences) -> list[Tensor]:
        x, lengths = self.features(sentences), sentences.lengths
        shares = self.pools.weights(x, lengths)
        return [row[:n] for row, n in zip(shares, lengths.tolist(), strict=True)]
