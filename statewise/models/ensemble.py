"""Several models that label alike, asked together: the mean of what they say.

    p(label)     the mean over the models; of a CRF its marginals
    class        the likeliest
    tags         the likeliest of each word, or where a CRF has rules the best path that keeps them:
                 the largest product of p over the words

Baziotis et al., "NTUA-SLP at SemEval-2018 Task 3", 2018, who ask a model of words and one of
characters.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from statewise.models.classifier import ClassifyingModel
from statewise.models.conversation import ConversationModel
from statewise.models.crf import CRF
from statewise.models.tagger import TaggingModel

Member = TaggingModel | ClassifyingModel | ConversationModel


class Ensemble:
    """Taggers, or classifiers, that answer together.

    Args:
        models: one at least, with the same labels; otherwise they may be made in any way.

    Raises:
        ValueError: if there are none, or they label differently or read different features.
    """

    def __init__(self, models: Sequence[Member]):
        if not models:
            raise ValueError("an ensemble needs one model at least")
        self.models = tuple(models)
        first = self.first
        for number, other in enumerate(models, 1):
            if other.kind != first.kind:
                raise ValueError(f"model {number} is a {other.kind}, and the first a {first.kind}")
            if other.labels != first.labels:
                mine, its = (", ".join(each.labels) for each in (first, other))
                raise ValueError(f"model {number} has the labels {its}, and the first {mine}")
            if list(other.vocabulary.features) != list(first.vocabulary.features):
                raise ValueError(f"model {number} reads other features than the first")
        ruled = (model.crf for model in models if isinstance(model, TaggingModel))
        rules = next((crf for crf in ruled if crf is not None), None)
        # All transitions cost nothing: what is left of a CRF are its rules.
        self._rules = None
        if rules is not None:
            legal = rules.legal_start, rules.legal_transition, rules.legal_end
            self._rules = CRF(len(first.labels), legal=legal)

    @property
    def first(self) -> Member:
        """The first of the models, which says how what is labelled is read."""
        return self.models[0]

    @property
    def kind(self) -> str:
        """What they are: "tagger" or "classifier"."""
        return self.first.kind

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels there are."""
        return self.first.labels

    def read(self, sentence: Any) -> Sequence[Any]:
        """Return the words of what is to be labelled."""
        return self.first.read(sentence)

    def predict_proba(self, sentences: Sequence[Any]) -> list[Tensor]:
        """Return the probability of each label, in the order of `labels`, as one model does.

        Raises:
            ValueError: for what is no list of words.
        """
        each = (model.predict_proba(sentences) for model in self.models)
        return [torch.stack(found).mean(0) for found in zip(*each, strict=True)]

    def predict(self, sentences: Sequence[Any]) -> list[Any]:
        """Return the labels of sentences or texts, as one model does.

        Raises:
            ValueError: for what is no list of words.
        """
        read = [self.first.read(sentence) for sentence in sentences]
        found = zip(self.predict_proba(read), read, strict=True)
        return [self.first.named(self._best(chances), sentence) for chances, sentence in found]

    @torch.no_grad()
    def _best(self, probabilities: Tensor) -> Any:
        if self._rules is None:
            return probabilities.argmax(-1).tolist()
        # Not zero: a path that keeps the rules may need what all models think impossible.
        scores = probabilities.double().clamp(min=torch.finfo(torch.float64).tiny).log().cpu()
        return self._rules.viterbi(scores[None]).tags[0].tolist()
