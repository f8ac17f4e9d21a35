"""A classifier: a text in, one of several classes out.

words      where is my card           a text, cut by `statewise.models.spelling.cut`
features   x_1 ... x_4                of each word in its sentence
vector     [attention(x), max(x)]     one or several poolings over time, side by side
class      W vector + b               a score for each
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.pooling import POOLINGS, Attention
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.spelling import Sentences, Vocabulary, cut

Poolings = Annotated[list[Literal["attention", "mean", "max", "last"]], Field(min_length=1)]


class ClassifierConfig(LabelConfig):
    """What a classifier is built from.

    Args:
        encoder: how it reads.
        labels: the classes, in their order.
        pooling: what makes one vector of a text, one or several: "attention", "mean", "max",
            "last".
    """

    called = "a classifier"

    pooling: Poolings = Field(default_factory=lambda: ["attention", "max"])


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
        dim, both_ways = self.encoder.out, config.encoder.both_ways
        self.pools = nn.ModuleList(
            POOLINGS[name](dim, both_ways=both_ways) for name in config.pooling
        )
        self.head = nn.Linear(dim * len(self.pools), len(self.labels))

    def read(self, sentence: str | Sequence[str]) -> Sequence[str]:
        """Return the words of a text, which may be cut already."""
        return cut(sentence) if isinstance(sentence, str) else sentence

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch classes"]:
        """Return the score of each class, in float32 or wider."""
        return self.scores(self.features(sentences), sentences.lengths)

    def scores(
        self, x: Float[Tensor, "batch time out"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the score of each class, in float32 or wider, from the features of the words."""
        scores = self.head(torch.cat([pool(x, lengths) for pool in self.pools], 1))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def cost(
        self,
        x: Float[Tensor, "batch time out"],
        lengths: Int[Tensor, " batch"],
        targets: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        """Return what the right classes cost, summed over the batch, in nats.

        Args:
            x: features of the words.
            lengths: of the texts.
            targets: the right classes, as their numbers.
        """
        return functional.cross_entropy(self.scores(x, lengths), targets, reduction="sum")

    def best(self, x: Float[Tensor, "batch time out"], lengths: Int[Tensor, " batch"]) -> list[int]:
        """Return the class of each text, as its number."""
        return self.scores(x, lengths).argmax(1).tolist()

    def chances(
        self, x: Float[Tensor, "batch time out"], lengths: Int[Tensor, " batch"]
    ) -> list[Tensor]:
        """Return the probabilities of the classes, (classes,), for each text."""
        return list(self.scores(x, lengths).softmax(1))

    def named(self, found: int) -> str:
        """Return the class that has this number."""
        return self.labels[found]

    def attention(self, sentences: Sequence[str | Sequence[str]]) -> list[Tensor]:
        """Return what share each word of a text has in its vector, (words,), for each text.

        Of several poolings by attention it is the mean.

        Raises:
            ValueError: for what is no list of words, or if no pooling is by attention.
        """
        if not any(isinstance(pool, Attention) for pool in self.pools):
            raise ValueError(
                f"this classifier has no attention: its pooling is {', '.join(self.config.pooling)}"
            )
        return self._over(sentences, self._shares)

    def _shares(self, sentences: Sentences) -> list[Tensor]:
        x, lengths = self.features(sentences), sentences.lengths
        attentive = (pool for pool in self.pools if isinstance(pool, Attention))
        shares = torch.stack([pool.weights(x, lengths) for pool in attentive]).mean(0)
        return [row[:n] for row, n in zip(shares, lengths.tolist(), strict=True)]
