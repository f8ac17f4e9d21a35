"""A label for each item of a sequence, from its features: by a CRF, or each by itself.

    emissions   W x_1   W x_2   W x_3     a score for each label of each item
    labels      y_1     y_2     y_3       the best path of a CRF, or the best of each
    spans       y_1 - y_2, y_3            or, in place of both, by transitions

What taggers of words and classifiers of the texts of conversations share; streams too.
"""

import abc
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from statewise.mixers.base import within
from statewise.models.crf import CRF
from statewise.models.labelling import LabelConfig, Labelling
from statewise.models.transitions import Transitions, Written

Output = Literal["crf", "softmax", "transitions"]

SAMPLES = 32
"""Of the decisions of transitions, whose share of each label is taken for its probability."""

Legal = tuple[Tensor, Tensor, Tensor]
"""With which labels a sequence may begin, which may follow which, with which it may end."""

Config = TypeVar("Config", bound="SequenceConfig")


class SequenceConfig(LabelConfig):
    """What a model that labels sequences is built from.

    Args:
        encoder: how sentences are read.
        labels: which there are, in their order.
        output: "crf" scores labels and their order together; "softmax" each by itself;
            "transitions" finds spans, see `statewise.models.transitions`.
    """

    output: Output = "crf"


class TagState(NamedTuple):
    """Where a stream stands; a value, which `statewise.state` saves. Batch is 1."""

    layers: tuple[Any, ...]
    """Of what reads the sequence."""
    scores: Float[Tensor, "batch undecided tags"]
    """Of the labels of items that were heard and have none yet."""
    before: Int[Tensor, " batch"]
    """The last label that was said; -1 for none."""
    heard: Int[Tensor, " batch"]
    """Items of the sequence so far."""


class SequenceLabelling(Labelling[Config], abc.ABC):
    """Labels the items of sequences."""

    labels: tuple[str, ...]
    head: nn.Linear | None
    crf: CRF | None
    transitions: Transitions | None

    def _begin(
        self, dim: int, legal: Legal | None, spans: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Make the head.

        Args:
            dim: features of an item.
            legal: the rules of a CRF.
            spans: of each type, how its spans are written, as `TaggerConfig` has it.
        """
        self.labels, output = tuple(self.config.labels), self.config.output
        self.head = self.crf = self.transitions = None
        if output == "transitions":
            self.transitions = Transitions(dim, *_written(self.labels, spans or {}))
            return
        self.head = nn.Linear(dim, len(self.labels))
        self.crf = CRF(len(self.labels), legal=legal) if output == "crf" else None

    def forward(self, batch: Any) -> Float[Tensor, "batch time tags"]:
        """Return the score of each label for each item, in float32 or wider."""
        return self.scores(self.features(batch))

    def scores(self, x: Float[Tensor, "*batch time out"]) -> Float[Tensor, "*batch time tags"]:
        """Return the score of each label for each item, in float32 or wider, from features."""
        if self.head is None:
            raise ValueError("transitions score decisions, and not each label of each word")
        scores = self.head(x)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def cost(
        self,
        x: Float[Tensor, "batch time out"],
        sentences: Any,
        targets: Int[Tensor, "batch time"],
    ) -> Float[Tensor, ""]:
        """Return what the right labels cost, summed over all items, in nats.

        Args:
            x: features of the items.
            sentences: a batch of the sequences.
            targets: the right labels, as their numbers; -1 where they are not known, which costs
                nothing by itself.

        Raises:
            ValueError: if labels break the rules; of transitions, if one is not known.
        """
        if self.transitions is not None:
            if (targets < 0).any():
                raise ValueError("transitions learn of whole sentences: a tag is not known")
            return self.transitions.cost(x, sentences.lengths, targets)
        emissions, lengths = self.scores(x), sentences.lengths
        if self.crf is not None:
            # A second scan, over the paths that are left, where something is not known.
            cost = self.crf.partly if (targets < 0).any() else self.crf
            return cost(emissions, targets, lengths=lengths).sum()
        real = within(lengths, emissions.shape[1]) & (targets >= 0)
        return functional.cross_entropy(emissions[real], targets[real], reduction="sum")

    def best(self, x: Float[Tensor, "batch time out"], sentences: Any) -> list[list[int]]:
        """Return the labels of each sequence, as their numbers."""
        if self.transitions is not None:
            return self.transitions.find(x, sentences.lengths)
        emissions, lengths = self.scores(x), sentences.lengths
        if self.crf is not None:
            found = self.crf.viterbi(emissions, lengths=lengths).tags
        else:
            found = emissions.argmax(2)
        return [row[:n] for row, n in zip(found.tolist(), lengths.tolist(), strict=True)]

    def chances(self, x: Float[Tensor, "batch time out"], sentences: Any) -> list[Tensor]:
        """Return the probabilities of the labels, (items, labels), for each sequence.

        A CRF's are its marginals: all paths through a label count, and not the best one alone. Of
        transitions, whose paths are too many to add up, they are shares of `SAMPLES` that are
        drawn.
        """
        if self.transitions is not None:
            return self._shares(self.transitions, x, sentences.lengths)
        emissions, lengths = self.scores(x), sentences.lengths
        if self.crf is not None:
            found = self.crf.marginals(emissions, lengths=lengths)
        else:
            found = emissions.softmax(2)
        return [row[:n].clone() for row, n in zip(found, lengths.tolist(), strict=True)]

    def named(self, found: Sequence[int], sentence: Sequence[Any]) -> tuple[str, ...]:
        """Return the labels that have these numbers."""
        return tuple(self.labels[label] for label in found)

    def initial_state(self, batch: int = 1) -> TagState:
        """Return the state before a sequence.

        Args:
            batch: 1.

        Raises:
            ValueError: if what comes after an item counts for it too, as for transitions; or for
                another batch.
        """
        if batch != 1:
            raise ValueError(f"a stream is one: batch = {batch} should be 1")
        if self.head is None:
            raise ValueError(
                "transitions read what is left of a sentence, and cannot label it while it "
                "arrives: train with --output crf or softmax"
            )
        device = self.head.weight.device
        return TagState(
            self._before(),
            torch.zeros(1, 0, len(self.labels), device=device),
            torch.full((1,), -1, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
        )

    @torch.no_grad()
    def stream(
        self, items: Sequence[Any], state: TagState, *, ended: bool = False, lag: int = 1
    ) -> tuple[list[str], TagState]:
        """Read items as they arrive; return the labels that are decided, and the state.

        Labels come in the order of the items, `look_ahead` and, with a CRF, `lag` items later. How
        they are cut into pieces makes no difference. A CRF's labels go on from those that were
        said, so that its rules hold; with a lag as long as the sequence they are `predict`'s.

        Args:
            items: the next ones, none or more: words of a sentence, with their features if there
                are some, or texts of a conversation.
            state: what the last call returned, or `initial_state()`.
            ended: whether the sequence ends with these: all its labels are returned.
            lag: items whose scores a CRF waits for, at least 1.

        Raises:
            ValueError: if what comes after an item counts for it too, or for a lag below 1.
        """
        if lag < 1:
            raise ValueError(f"lag = {lag} should be at least 1: a last tag has rules of its own")
        training = self.training
        self.eval()
        try:
            scores, layers, heard = self._scores(items, state, ended)
        finally:
            self.train(training)
        labels, before = [], int(state.before)
        while len(scores) > (lag if self.crf is not None and not ended else 0):
            before = self._next(scores[: lag + 1], before, ended and len(scores) <= lag)
            labels.append(self.labels[before])
            scores = scores[1:]
        if ended:
            return labels, self.initial_state()
        said = torch.full_like(state.before, before)
        return labels, TagState(layers, scores[None], said, heard)

    def tell(self, items: Iterable[Any], *, lag: int = 1) -> Iterator[tuple[Any, str]]:
        """Yield each item of one sequence with its label, as soon as it can be told.

        Raises:
            ValueError: as `stream` does.
        """
        state, waiting = self.initial_state(), deque[Any]()
        for item in items:
            waiting.append(item)
            labels, state = self.stream([item], state, lag=lag)
            yield from ((waiting.popleft(), label) for label in labels)
        labels, _ = self.stream([], state, ended=True, lag=lag)
        yield from zip(waiting, labels, strict=True)

    @abc.abstractmethod
    def _before(self) -> tuple[Any, ...]:
        """Return the states of the layers before anything is read."""

    @abc.abstractmethod
    def _scores(
        self, items: Sequence[Any], state: TagState, ended: bool
    ) -> tuple[Float[Tensor, "undecided tags"], tuple[Any, ...], Int[Tensor, " 1"]]:
        """Return the scores of all items that have no label yet, and what was read."""

    def _shares(
        self,
        transitions: Transitions,
        x: Float[Tensor, "batch time out"],
        lengths: Int[Tensor, " batch"],
    ) -> list[Tensor]:
        generator = torch.Generator(x.device).manual_seed(0)
        x, times = x.repeat(SAMPLES, 1, 1), lengths.repeat(SAMPLES)
        drawn = transitions.find(x, times, generator, SAMPLES)
        counts = [torch.zeros(length, len(self.labels)) for length in lengths.tolist()]
        for at, row in enumerate(drawn):
            counts[at % len(counts)][torch.arange(len(row)), row] += 1 / SAMPLES
        return counts

    def _next(self, scores: Float[Tensor, "time tags"], before: int, ended: bool) -> int:
        if self.crf is None:
            return int(scores[0].argmax())
        return self.crf.next_tag(scores, before=None if before < 0 else before, ended=ended)


def _written(
    labels: Sequence[str], spans: Mapping[str, Sequence[str]]
) -> tuple[list[Written], int]:
    """Return how spans are written, and the label outside of them, as numbers."""
    numbers = {label: number for number, label in enumerate(labels)}
    tags = {tag for written in spans.values() for tag in written}
    others = [label for label in labels if label not in tags]
    if not spans or not tags <= set(labels) or len(others) != 1:
        raise ValueError(
            "transitions find spans: the labels should be how these are written, and one more"
        )
    found = [[numbers[tag] for tag in (*written, "")[:5] if tag] for written in spans.values()]
    return [Written(*one, *[-1] * (5 - len(one))) for one in found], numbers[others[0]]
