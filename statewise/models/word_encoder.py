"""Words in, features out: what a word is known as, how it is spelled, and how it looks.

    known as    a vector of its own, learned or loaded; of a word that is rare in training, or
                dropped while training, one that all unknown words share
    spelled     a convolution over its characters (Ma and Hovy, 2016, arXiv:1603.01354, section
                2.1), or any mixer both ways (Lample et al., 2016, arXiv:1603.01360, section 4.1)
    cut         the mean of vectors of its n-grams (Bojanowski et al., 2017, arXiv:1607.04606)
    looks       its shape, as `statewise.models.spelling.SHAPES` asks
    described   by features such as its part of speech: a vector for each, or the sum of the vectors
                of its parts, Case=Nom|Number=Sing; zero for a part that no training has shown

Each different word of a batch is spelled once, however often it stands there.
"""

from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.parts.draws import Draws
from statewise.models.configuration import Configuration
from statewise.models.dropout import Rate
from statewise.models.pooling import Last, Max
from statewise.models.readers import Reader
from statewise.models.spelling import (
    ENDS,
    PADDING,
    SHAPES,
    UNKNOWN,
    Sentences,
    Spelled,
    Vocabulary,
)

Size = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

CONVOLUTION = "convolution"
"""What reads characters if no mixer does."""

TAPS = 3
"""Characters that the convolution sees at a time."""


class WordConfig(Configuration):
    """How words are read.

    Args:
        dim: features of a word's own vector; 0 for none.
        minimum: how often a word has to stand in the training data to have one.
        characters: what reads them: "convolution", or a mixer by name or as {name: ..., option:
            value}, which reads both ways; null for nothing.
        character_dim: features of a character.
        character_features: answered about the characters.
        grams: features of an n-gram; 0 for none of them.
        buckets: how many vectors n-grams share.
        shape: whether capitals, digits and marks are read.
        feature_dim: features of each feature that stands beside the words, if there are some.
        drop: the share of words whose own vector is withheld while training.
    """

    # Not strict, which would take nothing but instances where others hold it.
    model_config = ConfigDict(strict=False)
    called = "words"

    dim: Size = 100
    minimum: Count = 2
    characters: str | dict[str, Any] | None = CONVOLUTION
    character_dim: Count = 32
    character_features: Count = 96
    grams: Size = 64
    buckets: Count = 20_000
    shape: bool = True
    feature_dim: Count = 16
    drop: Rate = 0.1


WHOLE_WORDS: dict[str, Any] = {"characters": None, "grams": 0, "shape": False, "minimum": 1}
"""Options for words that are known as themselves alone, even those that were seen once."""


class Characters(nn.Module):
    """What the characters of words say.

    Args:
        known: how many characters there are, those with a meaning of their own included.
        dim: features of each.
        reader: "convolution", or a mixer.
        out: features answered.

    Raises:
        ValueError: for a mixer that does not exist, or features that two directions cannot share.
    """

    def __init__(self, known: int, dim: int, reader: str | dict[str, Any], out: int):
        super().__init__()
        self.out = out
        self.embedding = nn.Embedding(known, dim, padding_idx=PADDING)
        # As Ma and Hovy, section 3.2; past a word's border there is nothing.
        nn.init.uniform_(self.embedding.weight, -((3 / dim) ** 0.5), (3 / dim) ** 0.5)
        self.embedding.weight.data[PADDING] = 0
        self.convolution = self.mixer = None
        if reader == CONVOLUTION:
            self.convolution = nn.Conv1d(dim, out, TAPS, padding=TAPS // 2)
            self.pool = Max(out)
            return
        if out % 2:
            raise ValueError(f"character_features is {out}: two directions need an even number")
        self.mixer = Reader(reader, dim, out // 2, both_ways=True)
        self.pool = Last(out, both_ways=True)

    def forward(
        self, characters: Int[Tensor, "types letters"], lengths: Int[Tensor, " types"]
    ) -> Float[Tensor, "types out"]:
        """Return what is answered about each word."""
        x = self.embedding(characters)
        if self.mixer is not None:
            return self.pool(self.mixer(x, lengths=lengths), lengths)
        assert self.convolution is not None
        return self.pool(self.convolution(x.mT).relu().mT, lengths)


class WordEncoder(nn.Module):
    """Features of words.

    Args:
        config: which.
        vocabulary: of the words and characters that are known.

    Raises:
        ValueError: for a mixer that does not exist, or if nothing of a word is read.
    """

    def __init__(self, config: WordConfig, vocabulary: Vocabulary):
        super().__init__()
        self.config = config
        self.draws = Draws()
        self.embedding = self.characters = self.grams = None
        if config.dim:
            self.embedding = nn.Embedding(UNKNOWN + 1 + len(vocabulary), config.dim)
            nn.init.normal_(self.embedding.weight, std=0.1)
        if config.characters is not None:
            self.characters = Characters(
                ENDS + 1 + len(vocabulary.characters),
                config.character_dim,
                config.characters,
                config.character_features,
            )
        if config.grams:
            self.grams = nn.Embedding(1 + config.buckets, config.grams, padding_idx=PADDING)
            nn.init.normal_(self.grams.weight, std=0.1)
        self.features = nn.ModuleList(
            nn.Embedding(UNKNOWN + 1 + len(parts), config.feature_dim, padding_idx=PADDING)
            for parts in vocabulary.features.values()
        )
        for feature in self.features:
            assert isinstance(feature, nn.Embedding)
            nn.init.normal_(feature.weight, std=0.1)
            feature.weight.data[: UNKNOWN + 1] = 0
        spelled = config.character_features if self.characters else 0
        described = config.feature_dim * len(self.features)
        self.out = config.dim + spelled + config.grams + config.shape * len(SHAPES) + described
        if not self.out:
            raise ValueError("words: nothing of a word is read; turn on dim, characters or grams")

    @property
    def buckets(self) -> int:
        """How many n-grams there are to spell for; 0 for none."""
        return self.config.buckets if self.config.grams else 0

    def forward(self, sentences: Sentences) -> Float[Tensor, "batch time out"]:
        """Return the features of each word; in the padding, those of any."""
        if not sentences.places.numel():
            return self._like().new_zeros(*sentences.places.shape, self.out)
        used, places = sentences.places.unique(return_inverse=True)
        types = sentences.types.take(used)
        features = self._of_types(types)
        found = [functional.embedding(places, features)] if features is not None else []
        if self.embedding is not None:
            words = types.words[places]
            if self.training and self.config.drop:
                dropped = self.draws(*words.shape) < self.config.drop
                words = torch.where(dropped, UNKNOWN, words)
            found.append(self.embedding(words))
        return torch.cat(found, 2)

    def _of_types(self, types: Spelled) -> Float[Tensor, "types features"] | None:
        """Return what the spelling of each word says."""
        found = []
        if self.characters is not None:
            found.append(self.characters(types.characters, types.lengths))
        if self.grams is not None:
            there = types.grams != PADDING
            counts = there.sum(1)
            found.append(
                functional.embedding_bag(
                    types.grams[there], self.grams.weight, counts.cumsum(0) - counts, mode="mean"
                )
            )
        if self.config.shape:
            found.append(types.shapes.to(self._like().dtype))
        for feature, parts in zip(self.features, types.features.unbind(1), strict=True):
            found.append(feature(parts).sum(1))
        return torch.cat(found, 1) if found else None

    def _like(self) -> Tensor:
        return next(self.parameters())
