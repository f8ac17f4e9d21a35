"""A tagger with several heads: one reading of a sentence, labels of several kinds.

    words      Play  some  jazz
    features   x_1   x_2   x_3             of one encoder, which all heads share
    upos       VERB  DET   NOUN            a head that tags words: a CRF, or each word alone
    slots      O     O     B-genre         another
    intent     music                       a head that says of which class the sentence is
    lemma      play  some  jazz            a head that writes a word for each

The cost of a sentence is that of all its labels, summed: the heads know of each other through the
features alone (Caruana, "Multitask Learning", Machine Learning 28, 1997). Tags beside a class of
the sentence are those of Liu and Lane, 2016, arXiv:1609.01454.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from pydantic import ValidationError
from torch import Tensor, nn

from statewise.models.classifier import ClassifierConfig, ClassifyingModel
from statewise.models.labelling import Labelling, LabellingConfig
from statewise.models.sentence_encoder import SentenceEncoder
from statewise.models.sequence_labelling import Legal
from statewise.models.speller import SpellingModel
from statewise.models.spelling import Sentences, Vocabulary
from statewise.models.tagger import TaggerConfig, TaggingModel

Head = TaggingModel | ClassifyingModel | SpellingModel

HEADS: dict[str, type[TaggingModel] | type[ClassifyingModel] | type[SpellingModel]] = {
    TaggingModel.kind: TaggingModel,
    ClassifyingModel.kind: ClassifyingModel,
    SpellingModel.kind: SpellingModel,
}
"""By their kinds."""

Found = dict[str, Any]
"""What each head says, by its name."""


class JointConfig(LabellingConfig):
    """What a tagger with several heads is built from.

    Args:
        encoder: how it reads.
        heads: by the name of each, {"kind": "tagger", "classifier" or "speller", ...}: what a model
            of that kind is built from, but for the encoder.
    """

    called = "a tagger with several heads"

    heads: dict[str, dict[str, Any]]


class JointTaggingModel(Labelling[JointConfig]):
    """Tags words, and may spell others or classify the sentence, by several heads on one encoder.

    `heads` has a whole model for each, by its name, which may be used and saved on its own; they
    share the encoder.

    Args:
        config: what to build.
        vocabulary: of the words and characters that it knows.
        encoder: which reads, if it is at hand.
        legal: for each head that has rules, which tags may follow which.

    Raises:
        ValueError: for a configuration that does not fit together, in words.
    """

    kind = "joint_tagger"
    configuration = JointConfig

    def __init__(
        self,
        config: JointConfig,
        vocabulary: Vocabulary,
        *,
        encoder: SentenceEncoder | None = None,
        legal: Mapping[str, Legal | None] | None = None,
    ):
        super().__init__(config, vocabulary, encoder=encoder)
        if not config.heads:
            raise ValueError(f"{config.called} needs one at least")
        # A list, since a name may have dots.
        self._heads = nn.ModuleList(
            self._head(name, dict(fields), (legal or {}).get(name))
            for name, fields in config.heads.items()
        )
        if len({head.look_ahead for head in self.heads.values() if head.kind == "tagger"}) > 1:
            raise ValueError("all heads that tag should have the same look_ahead")

    def _head(self, name: str, fields: dict[str, Any], legal: Legal | None) -> Head:
        kind = fields.pop("kind", None)
        if kind not in HEADS:
            raise ValueError(f"head {name!r} is a {kind}; it should be a {' or a '.join(HEADS)}")
        try:
            made = HEADS[kind].configuration(encoder=self.config.encoder, **fields)
        except ValidationError as error:
            why = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"head {name!r}: {why}") from None
        if isinstance(made, TaggerConfig):
            return TaggingModel(made, self.vocabulary, legal=legal, encoder=self.encoder)
        if isinstance(made, ClassifierConfig):
            return ClassifyingModel(made, self.vocabulary, encoder=self.encoder)
        return SpellingModel(made, self.vocabulary, encoder=self.encoder)

    @property
    def heads(self) -> dict[str, Head]:
        """A model for each head, by its name."""
        found: dict[str, Head] = {}
        for name, head in zip(self.config.heads, self._heads, strict=True):
            assert isinstance(head, Head)
            found[name] = head
        return found

    @property
    def names(self) -> str:
        """The names of the heads, for a reader."""
        return ", ".join(self.config.heads)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """Of each head, all labels there are."""
        return {name: head.labels for name, head in self.heads.items()}

    @property
    def look_ahead(self) -> int:
        """Words after one that are read before it is tagged."""
        return max(head.look_ahead for head in self.heads.values())

    def cost(
        self,
        x: Float[Tensor, "batch time out"],
        sentences: Sentences,
        targets: Sequence[Tensor],
    ) -> Float[Tensor, ""]:
        """Return the sum of what the right labels of every head cost, in nats.

        Args:
            x: features of the words.
            sentences: a batch of them.
            targets: of each head, in the order of `heads`.
        """
        heads = self.heads.values()
        return sum(
            (head.cost(x, sentences, wanted) for head, wanted in zip(heads, targets, strict=True)),
            x.new_zeros(()),
        )

    def best(self, x: Float[Tensor, "batch time out"], sentences: Sentences) -> list[Found]:
        """Return what every head says of each sentence, as numbers."""
        return _turned({name: head.best(x, sentences) for name, head in self.heads.items()})

    def chances(self, x: Float[Tensor, "batch time out"], sentences: Sentences) -> list[Found]:
        """Return the probabilities of the labels of every head, for each sentence."""
        return _turned({name: head.chances(x, sentences) for name, head in self.heads.items()})

    def named(self, found: Found, sentence: Sequence[Any]) -> Found:
        """Return the labels that have these numbers, by the names of the heads."""
        return {name: head.named(found[name], sentence) for name, head in self.heads.items()}


def _turned(found: Mapping[str, list[Any]]) -> list[Found]:
    """Return for each sentence what each head says, from what each says of all sentences."""
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
